"""What Alembic runs revisions in: the connection, and the transaction, that `registry.schema` holds."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transaction_per_migration=False)
with context.begin_transaction():
    context.run_migrations()

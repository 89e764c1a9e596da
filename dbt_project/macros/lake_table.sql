{% macro lake_table(name) -%}
    {{ adapter.dispatch('lake_relation')(source('lake', name)) }}
{%- endmacro %}

{% macro default__lake_relation(relation) -%}
    {{ relation }}
{%- endmacro %}

{% macro duckdb__lake_relation(relation) -%}
    {%- set path = env_var('RWCM_LAKE') ~ '/' ~ relation.identifier -%}
    {%- set version = fromjson(env_var('RWCM_LAKE_VERSIONS', '{}')).get(relation.identifier) -%}
    delta_scan({{ dbt.string_literal(dbt.escape_single_quotes(path)) }}
    {%- if version is not none %}, version => {{ version }}{% endif %})
{%- endmacro %}

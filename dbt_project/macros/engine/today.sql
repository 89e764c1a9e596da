{% macro today() -%}
    date {{ dbt.string_literal(env_var('RWCM_TODAY')) }}
{%- endmacro %}

{% macro digest(expression) -%}
    {{ adapter.dispatch('digest')(expression) }}
{%- endmacro %}

{% macro default__digest(expression) -%}
    md5({{ expression }})
{%- endmacro %}

{% macro duckdb__digest(expression) -%}
    sha256({{ expression }})
{%- endmacro %}

{% macro json_number(document, key) -%}
    {{ adapter.dispatch('json_number')(document, key) }}
{%- endmacro %}

{% macro default__json_number(document, key) -%}
    cast(json_value({{ document }}, 'lax $.{{ key }}') as double)
{%- endmacro %}

{% macro duckdb__json_number(document, key) -%}
    try_cast(cast(json_extract({{ document }}, '$.{{ key }}') as varchar) as double)
{%- endmacro %}

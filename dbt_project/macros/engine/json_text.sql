{% macro json_text(document, key) -%}
    {{ adapter.dispatch('json_text')(document, key) }}
{%- endmacro %}

{% macro default__json_text(document, key) -%}
    json_value({{ document }}, 'lax $.{{ key }}')
{%- endmacro %}

{% macro duckdb__json_text(document, key) -%}
    json_extract_string({{ document }}, '$.{{ key }}')
{%- endmacro %}

{% macro json_list(expression, order_by) -%}
    {{ adapter.dispatch('json_list')(expression, order_by) }}
{%- endmacro %}

{% macro default__json_list(expression, order_by) -%}
    json_arrayagg({{ expression }} order by {{ order_by }})
{%- endmacro %}

{% macro duckdb__json_list(expression, order_by) -%}
    cast(to_json(list({{ expression }} order by {{ order_by }})) as varchar)
{%- endmacro %}

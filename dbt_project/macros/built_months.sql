{#
    A test on a microbatch model reads the months that this invocation built, and the whole table where none are named:
    what a build of one month costs must not grow with the history.
#}
{% macro default__get_where_subquery(relation) -%}
    {%- set filters = ['(' ~ config.get('where') ~ ')'] if config.get('where') else [] -%}
    {%- set tested = graph.nodes.get(model.attached_node) if execute -%}
    {%- set start = invocation_args_dict.get('event_time_start') -%}
    {%- set end = invocation_args_dict.get('event_time_end') -%}
    {%- if tested and tested.config.incremental_strategy == 'microbatch' and start and end -%}
        {%- do filters.append(tested.config.event_time ~ " >= date '" ~ start.date() ~ "'") -%}
        {%- do filters.append(tested.config.event_time ~ " < date '" ~ end.date() ~ "'") -%}
    {%- endif -%}
    {%- if filters -%}
        {%- do return('(select * from ' ~ relation ~ ' where ' ~ filters | join(' and ') ~ ') as built') -%}
    {%- else -%}
        {%- do return(relation) -%}
    {%- endif -%}
{%- endmacro %}

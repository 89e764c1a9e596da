{#
    A test on a microbatch model reads the months that this invocation built, and the whole table where none are named:
    what a build of one month costs must not grow with the history.
#}
{% macro default__get_where_subquery(relation) -%}
    {%- set filters = [] -%}
    {%- if config.get('where') -%}
        {%- do filters.append('(' ~ config.get('where') ~ ')') -%}
    {%- endif -%}
    {%- set tested = graph.nodes.get(model.attached_node) if execute -%}
    {%- if tested and tested.config.incremental_strategy == 'microbatch' and flags.EVENT_TIME_START -%}
        {%- do filters.append(tested.config.event_time ~ " >= date '" ~ flags.EVENT_TIME_START.date() ~ "'") -%}
        {%- do filters.append(tested.config.event_time ~ " < date '" ~ flags.EVENT_TIME_END.date() ~ "'") -%}
    {%- endif -%}
    {%- if filters -%}
        {%- do return('(select * from ' ~ relation ~ ' where ' ~ filters | join(' and ') ~ ') as built') -%}
    {%- else -%}
        {%- do return(relation) -%}
    {%- endif -%}
{%- endmacro %}

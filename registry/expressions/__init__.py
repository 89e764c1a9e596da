"""Conditions and `${...}` parameters in CEL: compiled once, evaluated over an episode's JSON.

`environment` compiles and evaluates, `syntax` says what an expression reads, `templates` binds parameters.
"""

from registry.expressions.environment import (
    BARE,
    VARIABLES,
    Expression,
    ExpressionFault,
    compile_condition,
    compile_expression,
)
from registry.expressions.syntax import Comparison, MemberPath
from registry.expressions.templates import Template, compile_template

__all__ = [
    "BARE",
    "VARIABLES",
    "Comparison",
    "Expression",
    "ExpressionFault",
    "MemberPath",
    "Template",
    "compile_condition",
    "compile_expression",
    "compile_template",
]

//! What of the language a filter may use.

use cel::IdedExpr;
use cel::common::ast::operators as op;
use cel::common::ast::{EntryExpr, Expr};

use super::FilterError;

/// The functions that may be called, beside operators and `has`.
pub(super) const FUNCTIONS: [&str; 9] =
    ["contains", "startsWith", "endsWith", "size", "int", "uint", "double", "string", "bool"];
/// What the parser makes of operators.
const OPERATORS: [&str; 18] = [
    op::CONDITIONAL,
    op::LOGICAL_AND,
    op::LOGICAL_OR,
    op::LOGICAL_NOT,
    op::SUBSTRACT,
    op::ADD,
    op::MULTIPLY,
    op::DIVIDE,
    op::MODULO,
    op::EQUALS,
    op::NOT_EQUALS,
    op::GREATER_EQUALS,
    op::LESS_EQUALS,
    op::GREATER,
    op::LESS,
    op::NEGATE,
    op::INDEX,
    op::IN,
];
/// Names that stand for something.
const NAMES: [&str; 2] = ["data", "event"];
/// Expressions within one another that are evaluated: each takes some stack of a thread that has 2 MiB.
const DEPTH_MAX: usize = 40;

/// Checks an expression and all in it.
pub(super) fn expression(root: &IdedExpr) -> Result<(), FilterError> {
    let mut open = vec![(root, 1)];
    while let Some((expression, depth)) = open.pop() {
        if depth > DEPTH_MAX {
            return Err(FilterError::TooDeep);
        }
        let mut within = |inner| open.push((inner, depth + 1));
        match &expression.expr {
            Expr::Unspecified | Expr::Literal(_) => {}
            Expr::Ident(name) if NAMES.contains(&name.as_str()) => {}
            Expr::Ident(name) => return Err(FilterError::Name(name.clone())),
            Expr::Select(select) => within(&select.operand),
            Expr::List(list) => list.elements.iter().for_each(within),
            Expr::Map(map) => {
                for entry in &map.entries {
                    match &entry.expr {
                        EntryExpr::MapEntry(entry) => {
                            within(&entry.key);
                            within(&entry.value);
                        }
                        EntryExpr::StructField(field) => within(&field.value),
                    }
                }
            }
            Expr::Call(call) => {
                if !OPERATORS.contains(&&*call.func_name) && !FUNCTIONS.contains(&&*call.func_name)
                {
                    return Err(FilterError::Function { name: call.func_name.clone() });
                }
                call.target.iter().for_each(|target| within(target));
                call.args.iter().for_each(within);
            }
            Expr::Struct(made) => return Err(FilterError::Name(made.type_name.clone())),
            Expr::Comprehension(_) => return Err(FilterError::Loop),
        }
    }
    Ok(())
}

//! Filters on the content of events: expressions of CEL, the Common Expression Language (<https://cel.dev>), without its loops.
//!
//! An expression sees `data`, the event's data (a value where that is JSON, else its text), and `event`, the rest of it. It matches where it gives `true`;
//! what is missing or of another type makes it not match. Without loops what it costs is bounded by its length: that is why macros are refused.

mod check;
mod input;

use std::sync::{Arc, LazyLock};

use cel::{Env, IdedExpr};

pub use input::FilterInput;

use crate::limits::FILTER_BYTES_MAX;

/// Brackets and ternaries within one another that the parser follows.
const NESTING_MAX: u16 = 24;
/// Stack of the thread that parses: the parser descends a dozen frames a level, and its own bound needs up to 4 MiB without optimisation (measured).
const STACK_BYTES: usize = 16 * 1024 * 1024;

/// The functions and types of the language, `has` apart from its macros.
static LANGUAGE: LazyLock<Arc<Env>> =
    LazyLock::new(|| Arc::new(Env::stdlib().with_optional_support(false)));

/// An expression that was read. Clones are the same.
#[derive(Clone, Debug)]
pub struct Filter {
    text: Arc<str>,
    expression: Arc<IdedExpr>,
}

/// Why a text is no filter; says what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// Too long.
    #[error("{0} bytes, allowed are {FILTER_BYTES_MAX}")]
    TooLong(usize),
    /// Not of the language.
    #[error("at {line}:{column}: {problem}")]
    Syntax {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// What is wrong, in words.
        problem: String,
    },
    /// Too many expressions within one another.
    #[error(
        "expressions lie too deep within one another: split the filter into several subscriptions"
    )]
    TooDeep,
    /// A macro that goes over a list.
    #[error(
        "loops over lists (all, exists, exists_one, map, filter) are not allowed: what a filter costs must not depend on the event"
    )]
    Loop,
    /// A name that stands for nothing.
    #[error(
        "{0:?} stands for nothing: use data for the event's data, such as data.amount > 100, and event for its id, type, created_at, api_version, ordering_key and channels"
    )]
    Name(String),
    /// A function that there is not.
    #[error("there is no function {name}: use {}", check::FUNCTIONS.join(", "))]
    Function {
        /// What was called.
        name: String,
    },
    /// No thread could be started.
    #[error("cannot be read at this moment: try again")]
    Busy,
}

impl Filter {
    /// Reads an expression.
    ///
    /// # Errors
    /// [`FilterError`] says what is wrong and what is allowed.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        if text.len() > FILTER_BYTES_MAX {
            return Err(FilterError::TooLong(text.len()));
        }
        let expression = std::thread::scope(|scope| {
            let parser =
                std::thread::Builder::new().name("filter".to_owned()).stack_size(STACK_BYTES);
            let parsing = parser.spawn_scoped(scope, || read(text));
            let parsed = parsing.map_err(|_| FilterError::Busy)?.join();
            // A panic of the parser: what it cannot read is no filter.
            parsed.unwrap_or_else(|_| Err(syntax(1, 1, "it cannot be read".to_owned())))
        })?;
        Ok(Self { text: text.into(), expression: Arc::new(expression) })
    }

    /// The expression as it was given.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether an event is one that the filter wants.
    #[must_use]
    pub fn matches(&self, input: &FilterInput) -> bool {
        input.satisfies(&self.expression)
    }
}

fn read(text: &str) -> Result<IdedExpr, FilterError> {
    let parser = LANGUAGE.parser().max_recursion_depth(NESTING_MAX);
    let expression = parser.parse(text).map_err(|errors| {
        let first = errors.errors.into_iter().next();
        first.map_or_else(
            || syntax(1, 1, String::new()),
            |error| {
                let place = |at: isize| usize::try_from(at).unwrap_or(0).max(1);
                syntax(place(error.pos.0), place(error.pos.1), error.msg)
            },
        )
    })?;
    check::expression(&expression)?;
    Ok(expression)
}

fn syntax(line: usize, column: usize, problem: String) -> FilterError {
    FilterError::Syntax { line, column, problem }
}

#[cfg(test)]
mod tests;

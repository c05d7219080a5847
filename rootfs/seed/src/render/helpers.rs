//! What templates may call, beside Handlebars' own `each`, `with` and `lookup`.
//!
//! | helper | gives |
//! |---|---|
//! | `{{join list ", "}}` | the elements with a text between them |
//! | `{{eq a b}}`, `{{ne a b}}`, `{{and a b}}`, `{{or a b}}`, `{{not a}}` | for `{{#if (eq a b)}}` |
//! | `{{contains list x}}` | whether the list has the element |
//! | `{{indent text 4}}` | every line after the first moved to the right |
//! | `{{address "10.0.0.1/24"}}`, `{{prefix "10.0.0.1/24"}}` | the parts of an address |
//! | `{{bracket "fd77::1"}}` | `[fd77::1]`; an IPv4 address or name stays as it is |
//! | `{{seconds "1m"}}`, `{{milliseconds "1s"}}` | a duration as a number |
//! | `{{bytes "1KiB"}}`, `{{mebibytes "1GiB"}}` | a size as a number |
//! | `{{quote text}}` | a JSON string, which YAML and TOML read too |
//! | `{{sqlquote text}}` | a text between single quotes, as SQL has it |
//! | `{{confquote text}}` | the same for `postgresql.conf`, where a backslash is special too |
//!
//! Some of these Handlebars has too. They are replaced because its `if` takes a misspelt key for
//! "no", and its `eq` doesn't name the key that is missing.

use handlebars::{
    Context, Handlebars, Helper, HelperDef, HelperResult, JsonTruthy, Output, RenderContext,
    RenderError, RenderErrorReason, Renderable, ScopedJson,
};
use serde_json::Value;

use crate::scalar::{Bytes, Cidr, DurationText};

/// The widest indentation; nothing of ours is deeper, and a larger number is a slip.
const MAX_INDENT: u64 = 64;

/// Adds all helpers.
pub(super) fn register(engine: &mut Handlebars<'_>) {
    engine.register_helper("if", Box::new(StrictIf { wanted: true }));
    engine.register_helper("unless", Box::new(StrictIf { wanted: false }));
    for function in FUNCTIONS {
        engine.register_helper(function.name, Box::new(function));
    }
}

/// A helper that computes a value from values. `None` means that it can't read them.
struct Function {
    name: &'static str,
    parameters: usize,
    compute: fn(&[&Value]) -> Option<Value>,
}

const FUNCTIONS: &[Function] = &[
    Function { name: "eq", parameters: 2, compute: |given| Some((given[0] == given[1]).into()) },
    Function { name: "ne", parameters: 2, compute: |given| Some((given[0] != given[1]).into()) },
    Function {
        name: "and",
        parameters: 2,
        compute: |given| Some((given[0].is_truthy(false) && given[1].is_truthy(false)).into()),
    },
    Function {
        name: "or",
        parameters: 2,
        compute: |given| Some((given[0].is_truthy(false) || given[1].is_truthy(false)).into()),
    },
    Function {
        name: "not",
        parameters: 1,
        compute: |given| Some((!given[0].is_truthy(false)).into()),
    },
    Function {
        name: "confquote",
        parameters: 1,
        compute: |given| Some(escaped_for_conf(given[0]).into()),
    },
    Function { name: "join", parameters: 2, compute: join },
    Function { name: "contains", parameters: 2, compute: contains },
    Function { name: "indent", parameters: 2, compute: indent },
    Function { name: "bracket", parameters: 1, compute: bracket },
    Function { name: "quote", parameters: 1, compute: |given| Some(quoted(given[0]).into()) },
    Function {
        name: "sqlquote",
        parameters: 1,
        compute: |given| Some(format!("'{}'", plain(given[0]).replace('\'', "''")).into()),
    },
    Function {
        name: "address",
        parameters: 1,
        compute: |given| Some(plain(given[0]).parse::<Cidr>().ok()?.address().to_string().into()),
    },
    Function {
        name: "prefix",
        parameters: 1,
        compute: |given| Some(plain(given[0]).parse::<Cidr>().ok()?.prefix().into()),
    },
    Function {
        name: "seconds",
        parameters: 1,
        compute: |given| Some((duration(given[0])?.milliseconds() / 1000).into()),
    },
    Function {
        name: "milliseconds",
        parameters: 1,
        compute: |given| Some(duration(given[0])?.milliseconds().into()),
    },
    Function { name: "bytes", parameters: 1, compute: |given| Some(size(given[0])?.get().into()) },
    Function {
        name: "mebibytes",
        parameters: 1,
        compute: |given| Some((size(given[0])?.get() >> 20).into()),
    },
];

impl HelperDef for &'static Function {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, RenderError> {
        let mut given = Vec::new();
        for index in 0..self.parameters {
            let parameter = helper
                .param(index)
                .ok_or(RenderErrorReason::ParamNotFoundForIndex(self.name, index))?;
            if parameter.is_value_missing() {
                return Err(RenderError::strict_error(parameter.relative_path()));
            }
            given.push(parameter.value());
        }
        let value = (self.compute)(&given).ok_or_else(|| {
            let shown: Vec<String> = given.iter().map(ToString::to_string).collect();
            RenderErrorReason::Other(format!("`{}` can't read {}", self.name, shown.join(" ")))
        })?;
        Ok(ScopedJson::Derived(value))
    }
}

fn join(given: &[&Value]) -> Option<Value> {
    let texts: Vec<String> = given[0].as_array()?.iter().map(plain).collect();
    Some(texts.join(given[1].as_str()?).into())
}

fn contains(given: &[&Value]) -> Option<Value> {
    Some(given[0].as_array()?.contains(given[1]).into())
}

fn indent(given: &[&Value]) -> Option<Value> {
    let width = usize::try_from(given[1].as_u64()?.min(MAX_INDENT)).ok()?;
    let lines = plain(given[0]);
    Some(lines.trim_end().replace('\n', &format!("\n{}", " ".repeat(width))).into())
}

fn bracket(given: &[&Value]) -> Option<Value> {
    let host = given[0].as_str()?;
    Some(if host.contains(':') { format!("[{host}]").into() } else { host.into() })
}

/// A JSON string in which DEL is escaped too: TOML wants that, JSON doesn't.
fn quoted(value: &Value) -> String {
    Value::String(plain(value)).to_string().replace('\u{7f}', "\\u007f")
}

/// A text for `postgresql.conf`.
fn escaped_for_conf(value: &Value) -> String {
    format!("'{}'", plain(value).replace('\\', "\\\\").replace('\'', "''"))
}

fn duration(value: &Value) -> Option<DurationText> {
    value.as_str()?.parse().ok()
}

fn size(value: &Value) -> Option<Bytes> {
    value.as_str()?.parse().ok()
}

/// A value as a template prints it.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// `if` and `unless` that refuse a key which does not exist.
struct StrictIf {
    wanted: bool,
}

impl HelperDef for StrictIf {
    fn call<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        engine: &'reg Handlebars<'reg>,
        context: &'rc Context,
        state: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        let condition = helper.param(0).ok_or(RenderErrorReason::ParamNotFoundForIndex("if", 0))?;
        if condition.is_value_missing() {
            return Err(RenderError::strict_error(condition.relative_path()));
        }
        let branch = if condition.value().is_truthy(false) == self.wanted {
            helper.template()
        } else {
            helper.inverse()
        };
        branch.map_or(Ok(()), |branch| branch.render(engine, context, state, out))
    }
}

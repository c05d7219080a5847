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
//! | `{{sqlquote text}}` | a text between single quotes, as `postgresql.conf` and SQL have it |
//!
//! `if` and `unless` are replaced: Handlebars' own take a misspelt key for "no", which strict mode
//! shall not.

use handlebars::{
    Context, Handlebars, Helper, HelperDef, HelperResult, JsonTruthy, Output, RenderContext,
    RenderError, RenderErrorReason, Renderable, handlebars_helper,
};
use serde_json::Value;

use crate::scalar::{Bytes, Cidr, DurationText};

/// Adds all helpers.
pub(super) fn register(engine: &mut Handlebars<'_>) {
    engine.register_helper("if", Box::new(StrictIf { wanted: true }));
    engine.register_helper("unless", Box::new(StrictIf { wanted: false }));
    engine.register_helper("join", Box::new(join));
    engine.register_helper("contains", Box::new(contains));
    engine.register_helper("indent", Box::new(indent));
    engine.register_helper("bracket", Box::new(bracket));
    engine.register_helper("quote", Box::new(quote));
    engine.register_helper("sqlquote", Box::new(sqlquote));
    let parsers: [(&'static str, Parse); 6] = [
        ("address", |text| {
            Some(text.parse::<Cidr>().ok()?.address().to_string().into())
        }),
        ("prefix", |text| {
            Some(text.parse::<Cidr>().ok()?.prefix().into())
        }),
        ("seconds", |text| {
            Some((text.parse::<DurationText>().ok()?.milliseconds() / 1000).into())
        }),
        ("milliseconds", |text| {
            Some(text.parse::<DurationText>().ok()?.milliseconds().into())
        }),
        ("bytes", |text| {
            Some(text.parse::<Bytes>().ok()?.get().into())
        }),
        ("mebibytes", |text| {
            Some((text.parse::<Bytes>().ok()?.get() >> 20).into())
        }),
    ];
    for (name, parse) in parsers {
        engine.register_helper(name, Box::new(Parsing { name, parse }));
    }
}

handlebars_helper!(join: |list: Json, between: str| {
    let texts: Vec<String> = list.as_array().into_iter().flatten().map(plain).collect();
    texts.join(between)
});

handlebars_helper!(contains: |list: Json, element: Json| {
    list.as_array().is_some_and(|list| list.contains(element))
});

handlebars_helper!(indent: |text: str, width: u64| {
    // Nothing of ours is indented deeper; a larger number is a slip.
    let width = usize::try_from(width).unwrap_or(0).min(64);
    text.trim_end().replace('\n', &format!("\n{}", " ".repeat(width)))
});

handlebars_helper!(bracket: |address: str| {
    if address.contains(':') { format!("[{address}]") } else { address.to_owned() }
});

handlebars_helper!(quote: |value: Json| Value::String(plain(value)).to_string());

handlebars_helper!(sqlquote: |value: Json| {
    format!("'{}'", plain(value).replace('\\', "\\\\").replace('\'', "''"))
});

/// A value as a template prints it.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// Reads a text into what the template gets.
type Parse = fn(&str) -> Option<Value>;

/// A helper that reads a typed text, and refuses what is none.
struct Parsing {
    name: &'static str,
    parse: Parse,
}

impl HelperDef for Parsing {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
    ) -> Result<handlebars::ScopedJson<'rc>, RenderError> {
        let parameter = helper
            .param(0)
            .ok_or(RenderErrorReason::ParamNotFoundForIndex(self.name, 0))?;
        if parameter.is_value_missing() {
            return Err(RenderError::strict_error(parameter.relative_path()));
        }
        let text = plain(parameter.value());
        let value = (self.parse)(&text).ok_or_else(|| {
            RenderErrorReason::Other(format!("`{}` can't read \"{text}\"", self.name))
        })?;
        Ok(handlebars::ScopedJson::Derived(value))
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
        let condition = helper
            .param(0)
            .ok_or(RenderErrorReason::ParamNotFoundForIndex("if", 0))?;
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

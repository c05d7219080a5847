//! Templates become files: Handlebars in strict mode, over a context made from the seed.
//!
//! A template sees only the inputs that its overlay declared. What is not declared does not exist
//! for it, so the list of inputs can be trusted, and a misspelt key is an error instead of an empty
//! line in a configuration. The node renders at boot, the builder on the desk; both call this.

mod context;
mod helpers;

use std::io;

use handlebars::{Handlebars, RenderErrorReason, no_escape};
use serde_json::{Map, Value};

use crate::manifest::{FileMode, Manifest, Template};

pub use context::{context, display_context, knows_input};

/// The largest file that a template may become. Configurations are some KiB; certificates too.
pub const MAX_RENDERED_BYTES: usize = 1024 * 1024;

/// Why a template was not rendered.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// The source can't be read.
    #[error("template {template} can't be read: {error}; rebuild the image")]
    Unreadable {
        /// The template's file.
        template: String,
        /// What the system said.
        error: io::Error,
    },
    /// The source is not valid Handlebars.
    #[error("{template}:{line}: {reason}; correct the template")]
    Syntax {
        /// The template's file.
        template: String,
        /// Line, counted from 1.
        line: usize,
        /// What the parser said.
        reason: String,
    },
    /// A declared input is nothing that a seed or a node has.
    #[error("{template}: there is no input `{input}`; correct `inputs` in its overlay.toml")]
    NoSuchInput {
        /// The template's file.
        template: String,
        /// The dotted key.
        input: String,
    },
    /// The template uses something that was not declared, or is not there.
    #[error(
        "{template}:{line}: `{variable}` is not among the inputs ({declared}); \
         add it to `inputs` in the overlay.toml, or correct the name"
    )]
    Undeclared {
        /// The template's file.
        template: String,
        /// Line, counted from 1.
        line: usize,
        /// What the template asked for.
        variable: String,
        /// What it may ask for.
        declared: String,
    },
    /// A helper was used in a wrong way.
    #[error("{template}:{line}: {reason}; correct the template")]
    Failed {
        /// The template's file.
        template: String,
        /// Line, counted from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// The file would be absurdly large.
    #[error("{template} becomes {bytes} bytes, more than {MAX_RENDERED_BYTES}; correct it")]
    TooLarge {
        /// The template's file.
        template: String,
        /// The size of what was rendered.
        bytes: usize,
    },
}

/// A file that the node shall have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// Where the node sees it.
    pub path: String,
    /// Its permission bits.
    pub mode: FileMode,
    /// Its owner.
    pub user: String,
    /// Its group; that of the owner if absent.
    pub group: Option<String>,
    /// Its content.
    pub text: String,
}

/// Renders one template over those parts of the context that it declares.
pub fn render(
    template: &str,
    source: &str,
    inputs: &[String],
    context: &Value,
) -> Result<String, RenderError> {
    let restricted = restrict(template, inputs, context)?;
    let mut engine = Handlebars::new();
    engine.set_strict_mode(true);
    engine.register_escape_fn(no_escape);
    helpers::register(&mut engine);
    engine.register_template_string(template, source).map_err(|error| RenderError::Syntax {
        template: template.to_owned(),
        line: error.pos().map_or(1, |(line, _)| line),
        reason: first_line(&error.reason().to_string()),
    })?;
    let text =
        engine.render(template, &restricted).map_err(|error| explain(template, inputs, &error))?;
    if text.len() > MAX_RENDERED_BYTES {
        return Err(RenderError::TooLarge { template: template.to_owned(), bytes: text.len() });
    }
    Ok(text)
}

/// Renders every template of an image whose `when` is met. `read_source` gets the `source` of a
/// template, relative to the folder of templates.
pub fn render_all(
    manifest: &Manifest,
    context: &Value,
    read_source: &dyn Fn(&str) -> io::Result<String>,
) -> Result<Vec<Rendered>, RenderError> {
    let wanted = |template: &&Template| is_met(template.when.as_deref(), context);
    let mut files = Vec::new();
    for template in manifest.templates.iter().filter(wanted) {
        let source = read_source(&template.source).map_err(|error| RenderError::Unreadable {
            template: template.source.clone(),
            error,
        })?;
        files.push(Rendered {
            path: template.path.to_string(),
            mode: template.mode,
            user: template.user.clone(),
            group: template.group.clone(),
            text: render(&template.source, &source, &template.inputs, context)?,
        });
    }
    Ok(files)
}

/// Whether a condition holds: its dotted key is there and not null, false, zero or empty.
pub fn is_met(when: Option<&str>, context: &Value) -> bool {
    let Some(key) = when else { return true };
    match lookup(context, key) {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Array(list)) => !list.is_empty(),
        Some(Value::Object(map)) => !map.is_empty(),
        Some(Value::Number(number)) => number.as_f64() != Some(0.0),
        Some(Value::Bool(true)) => true,
    }
}

/// The value of a dotted key.
pub fn lookup<'c>(context: &'c Value, key: &str) -> Option<&'c Value> {
    key.split('.').try_fold(context, |value, part| value.get(part))
}

/// The context with nothing but the declared inputs.
fn restrict(template: &str, inputs: &[String], context: &Value) -> Result<Value, RenderError> {
    let mut kept = Value::Object(Map::new());
    for input in inputs {
        let Some(value) = value_or_null(context, input) else {
            return Err(RenderError::NoSuchInput {
                template: template.to_owned(),
                input: input.clone(),
            });
        };
        insert(&mut kept, input, value);
    }
    Ok(kept)
}

/// The value of a dotted key; null if a table on the way is absent from this node's seed.
fn value_or_null(context: &Value, key: &str) -> Option<Value> {
    let mut value = context;
    for part in key.split('.') {
        if value.is_null() {
            return Some(Value::Null);
        }
        value = value.get(part)?;
    }
    Some(value.clone())
}

/// Puts a value at a dotted key, making the tables on the way.
fn insert(tree: &mut Value, key: &str, value: Value) {
    let (first, rest) =
        key.split_once('.').map_or((key, None), |(first, rest)| (first, Some(rest)));
    if !tree.is_object() {
        *tree = Value::Object(Map::new());
    }
    let Value::Object(map) = tree else { return };
    match rest {
        // A wider input, such as `vips`, has the narrower one already and must not lose the rest.
        None => drop(map.insert(first.to_owned(), value)),
        Some(rest) => insert(map.entry(first).or_insert(Value::Null), rest, value),
    }
}

/// A Handlebars error in our words.
fn explain(template: &str, inputs: &[String], error: &handlebars::RenderError) -> RenderError {
    let template = template.to_owned();
    let line = error.line_no.unwrap_or(1);
    match error.reason() {
        RenderErrorReason::MissingVariable(variable) => RenderError::Undeclared {
            template,
            line,
            variable: variable.clone().unwrap_or_else(|| "?".to_owned()),
            declared: inputs.join(", "),
        },
        reason => RenderError::Failed { template, line, reason: first_line(&reason.to_string()) },
    }
}

/// Handlebars draws its errors over several lines; the first says what is the matter.
fn first_line(text: &str) -> String {
    text.lines().find(|line| !line.trim().is_empty()).unwrap_or(text).trim().to_owned()
}

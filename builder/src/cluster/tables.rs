//! Small steps with TOML tables that keep comments and notation: merge, set, list, print.

use toml_edit::{
    ArrayOfTables, DocumentMut, InlineTable, Item, RawString, Table, TableLike, Value,
};

/// The item as a table with a header of its own; nothing if it is no table.
pub(super) fn table_of(item: &Item) -> Option<Table> {
    match item {
        Item::Table(table) => {
            let mut table = table.clone();
            table.set_dotted(false);
            // A table that has only tables below needs no header of its own.
            let lists = table.iter().all(|(_, item)| item.is_array_of_tables());
            table.set_implicit(lists && !table.is_empty());
            forget_position(&mut table);
            Some(table)
        }
        Item::Value(Value::InlineTable(inline)) => Some(from_inline(inline)),
        _ => None,
    }
}

/// The tables of a list, however it is written; nothing if it is no list of tables.
pub(super) fn tables_of(item: &Item) -> Option<Vec<Table>> {
    match item {
        Item::ArrayOfTables(tables) => {
            let mut tables: Vec<Table> = tables.iter().cloned().collect();
            tables.iter_mut().for_each(forget_position);
            Some(tables)
        }
        Item::Value(Value::Array(values)) => {
            values.iter().map(|value| value.as_inline_table().map(from_inline)).collect()
        }
        _ => None,
    }
}

/// Tables print in the order of the file they come from; in a seed the order is that of the parts.
fn forget_position(table: &mut Table) {
    table.set_position(None);
    for (_, item) in table.iter_mut() {
        match item {
            Item::Table(table) => forget_position(table),
            Item::ArrayOfTables(tables) => tables.iter_mut().for_each(forget_position),
            _ => {}
        }
    }
}

fn from_inline(inline: &InlineTable) -> Table {
    let mut table = inline.clone().into_table();
    table.fmt();
    table
}

/// Lays `above` over `below`, key by key; lists and values replace.
pub(super) fn merge(below: &mut dyn TableLike, above: &dyn TableLike) {
    for (key, item) in above.iter() {
        let tables = below.get_mut(key).and_then(Item::as_table_like_mut).zip(item.as_table_like());
        match tables {
            Some((below, above)) => merge(below, above),
            None => set(below, key, item.clone()),
        }
    }
}

/// Sets a key; the comments around an old value stay.
pub(super) fn set(table: &mut dyn TableLike, key: &str, mut item: Item) {
    if let Some(value) = item.as_value_mut() {
        value.decor_mut().clear();
    }
    let Some(old) = table.get_mut(key) else {
        table.insert(key, item);
        return;
    };
    if let (Some(old), Some(new)) = (old.as_value(), item.as_value_mut()) {
        *new.decor_mut() = old.decor().clone();
    }
    *old = item;
}

/// A list of texts.
pub(super) fn list<T: ToString>(texts: impl IntoIterator<Item = T>) -> Item {
    let texts = texts.into_iter().map(|text| text.to_string());
    Item::Value(Value::Array(texts.collect()))
}

/// The texts of a list; other values are left to the seed's reader.
pub(super) fn texts(table: &dyn TableLike, key: &str) -> Vec<String> {
    let list = table.get(key).and_then(Item::as_array);
    let texts = list.into_iter().flatten().filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}

/// The text of a key.
pub(super) fn text<'t>(table: &'t dyn TableLike, key: &str) -> Option<&'t str> {
    table.get(key).and_then(Item::as_str)
}

/// Tables as a list with double brackets, an empty line between them.
pub(super) fn listed(tables: impl IntoIterator<Item = Table>) -> Item {
    let mut list = ArrayOfTables::new();
    for mut table in tables {
        let bare = table.decor().prefix().is_none_or(|prefix| {
            let text = prefix.as_str().unwrap_or_default();
            !text.starts_with('\n')
        });
        if bare {
            let prefix = table.decor().prefix().and_then(RawString::as_str);
            let prefix = format!("\n{}", prefix.unwrap_or_default());
            table.decor_mut().set_prefix(prefix);
        }
        list.push(table);
    }
    Item::ArrayOfTables(list)
}

/// A part of a seed as text: its own comment from the cluster file, or else `comment`.
pub(super) fn printed(key: &str, item: Item, comment: &str) -> String {
    let mut document = DocumentMut::new();
    document.insert(key, item);
    let text = document.to_string();
    let text = text.trim_start_matches('\n');
    let line = if text.starts_with('#') || comment.is_empty() {
        String::new()
    } else {
        format!("# {comment}\n")
    };
    format!("\n{line}{}\n", text.trim_end())
}

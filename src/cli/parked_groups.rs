//! `tidemark parked list --group-by`: counts instead of items.

use std::collections::BTreeMap;

use crate::desk::causes::Root;

use super::arguments::Output;
use super::context::Context;
use super::failure::{Exit, Failure};
use super::parked::Listed;
use super::show::{self, Column};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Reason,
    Resource,
    /// Of the content, as the target named it. An item with several counts at each.
    Member,
    /// What it waits for in the end: itself, another parked item, or what is not parked.
    Cause,
}

impl Field {
    const ALL: [Field; 4] = [Field::Reason, Field::Resource, Field::Member, Field::Cause];

    fn name(self) -> &'static str {
        match self {
            Field::Reason => "reason",
            Field::Resource => "resource",
            Field::Member => "member",
            Field::Cause => "cause",
        }
    }

    /// Never empty.
    fn values(self, item: &Listed) -> Vec<Option<String>> {
        let shown = &item.shown;
        match self {
            Field::Reason => vec![Some(shown.reason.as_str().to_owned())],
            Field::Resource => vec![Some(shown.resource.to_string())],
            Field::Member if shown.error.members.is_empty() => vec![None],
            Field::Member => shown.error.members.iter().cloned().map(Some).collect(),
            Field::Cause => vec![Some(match &item.root {
                None => shown.id.clone(),
                Some(Root::Item(id) | Root::Absent(id)) => id.clone(),
            })],
        }
    }
}

type Group = (Vec<Option<String>>, u64);

pub(super) struct GroupBy {
    /// Always in the same order, whatever was typed.
    fields: Vec<Field>,
}

impl GroupBy {
    pub(super) fn parse(names: &[String]) -> Result<Option<GroupBy>, Failure> {
        for name in names {
            if !Field::ALL.iter().any(|field| field.name() == name) {
                return Err(Failure::usage(format!(
                    "cannot group by `{name}`: reason, resource, member and cause are known"
                )));
            }
        }
        let asked = |field: &Field| names.iter().any(|name| name == field.name());
        let fields: Vec<Field> = Field::ALL.into_iter().filter(asked).collect();
        Ok((!fields.is_empty()).then_some(GroupBy { fields }))
    }

    pub(super) fn print(&self, context: &Context, items: &[Listed]) -> Result<Exit, Failure> {
        let groups = self.count(items);
        if context.wants_csv() {
            show::answer(&self.csv(&groups))?;
            return Ok(Exit::Done);
        }
        match context.output() {
            Output::Json => {
                show::json_list(&groups.iter().map(|group| self.json(group)).collect::<Vec<_>>())?;
            }
            Output::Text if groups.is_empty() => show::answer("nothing is parked")?,
            Output::Text => show::answer(&self.table(&groups))?,
        }
        Ok(Exit::Done)
    }

    /// The most frequent first.
    fn count(&self, items: &[Listed]) -> Vec<Group> {
        let mut groups: BTreeMap<Vec<Option<String>>, u64> = BTreeMap::new();
        for item in items {
            let mut keys = vec![Vec::new()];
            for field in &self.fields {
                let values = field.values(item);
                let longer = keys.iter().flat_map(|key: &Vec<Option<String>>| {
                    values
                        .iter()
                        .map(|value| [key.as_slice(), std::slice::from_ref(value)].concat())
                });
                keys = longer.collect();
            }
            for key in keys {
                *groups.entry(key).or_default() += 1;
            }
        }
        let mut groups: Vec<Group> = groups.into_iter().collect();
        groups.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        groups
    }

    fn json(&self, (key, count): &Group) -> serde_json::Value {
        let mut json = serde_json::Map::new();
        for (field, value) in self.fields.iter().zip(key) {
            json.insert(field.name().to_owned(), value.clone().into());
        }
        json.insert("count".to_owned(), (*count).into());
        json.into()
    }

    fn csv(&self, groups: &[Group]) -> String {
        let mut columns: Vec<&str> = self.fields.iter().map(|field| field.name()).collect();
        columns.push("count");
        let row = |(key, count): &Group| {
            let values = key.iter().map(|value| value.clone().unwrap_or_default());
            values.chain([count.to_string()]).collect()
        };
        show::csv(&columns, groups.iter().map(row))
    }

    fn table(&self, groups: &[Group]) -> String {
        let columns = self.fields.iter().map(|field| Column::Text(field.name()));
        let columns: Vec<Column> = columns.chain([Column::Number("items")]).collect();
        let row = |(key, count): &Group| {
            let values = key.iter().map(|value| show::or_dash(value.as_deref()));
            values.chain([show::number(*count)]).collect()
        };
        show::table(&columns, groups.iter().map(row).collect())
    }
}

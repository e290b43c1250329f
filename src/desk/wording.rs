//! How numbers, moments and lists are written for people, on a terminal and on a page alike.

use serde::Serialize;

use crate::clock::Timestamp;
use crate::domain::Window;

/// Comma-separated values with a header, as RFC 4180 has them.
pub fn csv(columns: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let header = columns.iter().map(|name| (*name).to_owned()).collect();
    let mut text = String::new();
    for row in std::iter::once(header).chain(rows) {
        let fields: Vec<String> = row.into_iter().map(csv_field).collect();
        text.push_str(&fields.join(","));
        text.push_str("\r\n");
    }
    text
}

fn csv_field(text: String) -> String {
    if text.contains(['"', ',', '\r', '\n']) {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text
}

/// As JSON spells it; nothing for what is no text there.
pub fn word<T: Serialize>(value: &T) -> String {
    let text = serde_json::to_value(value).ok();
    text.and_then(|text| text.as_str().map(str::to_owned)).unwrap_or_default()
}

/// `34,288`
pub fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 item`, `34,288 items`
pub fn count(many: u64, one: &str) -> String {
    if many == 1 { format!("1 {one}") } else { format!("{} {one}s", number(many)) }
}

/// A number of things in memory as one that is shown.
pub fn many(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// The first few, and how many more there are.
pub fn few<T: ToString>(all: &[T]) -> String {
    const SHOWN: usize = 10;
    let mut text = all.iter().take(SHOWN).map(T::to_string).collect::<Vec<_>>().join(", ");
    if all.len() > SHOWN {
        text.push_str(&format!(" and {} more", number(many(all.len() - SHOWN))));
    }
    text
}

/// `0.4 s`, `3 min 20 s`, `2 h 5 min`
pub fn seconds(seconds: f64) -> String {
    if seconds < 60.0 {
        return format!("{seconds:.1} s");
    }
    let whole = std::time::Duration::from_secs_f64(seconds).as_secs();
    if whole < 3600 {
        return format!("{} min {} s", whole / 60, whole % 60);
    }
    format!("{} h {} min", whole / 3600, whole % 3600 / 60)
}

/// `everything through version 230`, `versions 101 through 230`: what is read, both edges in.
pub fn window(window: &Window) -> String {
    let max = window.max_change_version();
    match window.min_change_version() {
        None => format!("everything through version {max}"),
        Some(min) if min > max => format!("nothing newer than version {max}"),
        Some(min) => format!("versions {min} through {max}"),
    }
}

/// `2026-01-31 10:00:00Z`
pub fn moment(moment: Timestamp) -> String {
    moment.format("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// `just now`, `12 min ago`, `3 days ago`
pub fn ago(now: Timestamp, then: Timestamp) -> String {
    let gone = now.signed_duration_since(then);
    match gone.num_seconds() {
        ..60 => "just now".to_owned(),
        60..3600 => format!("{} min ago", gone.num_minutes()),
        3600..172_800 => format!("{} h ago", gone.num_hours()),
        _ => format!("{} days ago", gone.num_days()),
    }
}

/// `now`, `in 12 min`, `in 3 h`
pub fn until(now: Timestamp, then: Timestamp) -> String {
    let left = then.signed_duration_since(now);
    match left.num_seconds() {
        ..=0 => "now".to_owned(),
        1..60 => "in 1 min".to_owned(),
        60..7200 => format!("in {} min", left.num_minutes()),
        _ => format!("in {} h", left.num_hours()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (plain, shown) in
            [(0, "0"), (999, "999"), (1000, "1,000"), (34288, "34,288"), (1_234_567, "1,234,567")]
        {
            assert_eq!(number(plain), shown);
        }
    }

    #[test]
    fn one_of_a_thing_is_not_many() {
        for (many, shown) in [(0, "0 items"), (1, "1 item"), (2, "2 items"), (1001, "1,001 items")]
        {
            assert_eq!(count(many, "item"), shown);
        }
    }

    #[test]
    fn a_window_that_holds_nothing_is_no_range() {
        use crate::domain::ChangeVersion;
        for (after, through, shown) in [
            (None, 9, "everything through version 9"),
            (Some(7), 9, "versions 8 through 9"),
            (Some(9), 9, "nothing newer than version 9"),
        ] {
            let after = after.map(ChangeVersion);
            assert_eq!(window(&Window { after, through: ChangeVersion(through) }), shown);
        }
    }

    #[test]
    fn durations_lose_what_nobody_reads() {
        assert_eq!(seconds(0.44), "0.4 s");
        assert_eq!(seconds(200.9), "3 min 20 s");
        assert_eq!(seconds(7500.0), "2 h 5 min");
    }
}

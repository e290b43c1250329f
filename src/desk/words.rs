//! How numbers of things and lists of names are said to a person.

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

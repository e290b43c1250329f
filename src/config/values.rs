//! How single values are written: each function takes the text and says what to write instead.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use chrono_tz::Tz;
use url::Url;

use super::cron::CronSchedule;
use super::problem::{nearest, shown};
use super::tree::Percent;

pub(super) fn text(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("empty: write a text or remove the key".to_owned());
    }
    Ok(text.to_owned())
}

pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() {
        return Err("empty: write a path".to_owned());
    }
    Ok(PathBuf::from(text))
}

pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(format!("{} is neither `true` nor `false`", shown(text))),
    }
}

/// Zero or more, in decimal digits.
pub(super) fn whole<N: FromStr>(text: &str) -> Result<N, String> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!(
            "{} is not a whole number: write it in digits, such as 500",
            shown(text)
        ));
    }
    text.parse().map_err(|_| format!("{} is too large: write a smaller number", shown(text)))
}

/// One or more, in decimal digits.
pub(super) fn positive<N: FromStr + Default + PartialEq>(text: &str) -> Result<N, String> {
    let number = whole::<N>(text)?;
    if number == N::default() {
        return Err("must be at least 1".to_owned());
    }
    Ok(number)
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| {
        format!("{} is not a duration: write it with its unit, such as 30s or 15m", shown(text))
    })
}

pub(super) fn positive_duration(text: &str) -> Result<Duration, String> {
    let found = duration(text)?;
    if found.is_zero() {
        return Err("must be longer than 0s".to_owned());
    }
    Ok(found)
}

pub(super) fn at_least_a_second(text: &str) -> Result<Duration, String> {
    let found = duration(text)?;
    if found < Duration::from_secs(1) {
        return Err("must be at least 1s".to_owned());
    }
    Ok(found)
}

pub(super) fn off_or_at_least_a_second(text: &str) -> Result<Duration, String> {
    let found = duration(text)?;
    if !found.is_zero() && found < Duration::from_secs(1) {
        return Err("must be at least 1s, or 0s to switch it off".to_owned());
    }
    Ok(found)
}

pub(super) fn percent(text: &str) -> Result<Percent, String> {
    Percent::parse(text)
        .ok_or_else(|| format!("{} is not a share from 0% to 100%: write it as 10%", shown(text)))
}

pub(super) fn school_year(text: &str) -> Result<u16, String> {
    if text.len() != 4 {
        return Err(format!("{} is not a school year: write four digits", shown(text)));
    }
    whole(text)
}

pub(super) fn socket(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!("{} is not an address with a port: write it as 127.0.0.1:8642", shown(text))
    })
}

/// An address that carries no credentials; the messages never repeat it, because it might.
pub(super) fn url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text)
        .map_err(|error| format!("not an address ({error}): write it as https://host/path"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err("not an http address: write it as https://host/path".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "an address carries no credentials: write them as `key` and `secret`".to_owned()
        );
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("an address has no `?` or `#` part: remove it".to_owned());
    }
    Ok(url)
}

pub(super) fn cron(text: &str) -> Result<CronSchedule, String> {
    CronSchedule::parse(text)
}

pub(super) fn time_zone(text: &str) -> Result<Tz, String> {
    text.parse().map_err(|_| {
        let known = chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
        let hint = nearest(text, known).map_or_else(
            || ": write it as America/Chicago".to_owned(),
            |near| format!("; did you mean `{near}`?"),
        );
        format!("unknown time zone {}{hint}", shown(text))
    })
}

/// `students` or `/tpdm/candidates`; whether it exists is known when the API is reached.
pub(super) fn resource(text: &str) -> Result<String, String> {
    let is_plain = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    let is_name = match text.strip_prefix('/') {
        None => is_plain(text),
        Some(path) => path.split_once('/').is_some_and(|(a, b)| is_plain(a) && is_plain(b)),
    };
    if is_name {
        return Ok(text.to_owned());
    }
    Err(format!("{} is not a resource: write `students` or `/tpdm/candidates`", shown(text)))
}

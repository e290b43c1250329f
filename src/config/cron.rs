//! Cron expressions: six fields, seconds first, in a time zone. The one home of croner.

use std::fmt;

use chrono::{DateTime, TimeZone, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};

/// When something starts: `0 */15 * * * *`. It fires at least once.
#[derive(Clone)]
pub struct CronSchedule {
    text: String,
    /// Boxed, because it is twenty times the size of anything else that starts a run.
    cron: Box<Cron>,
}

impl CronSchedule {
    /// Seconds, minutes, hours, day of month, month, day of week. The error says what is wrong.
    pub fn parse(text: &str) -> Result<CronSchedule, String> {
        let fields = text.split_whitespace().count();
        if fields != 6 {
            return Err(format!(
                "a schedule has six fields (second minute hour day month weekday), this has \
                 {fields}; every 15 minutes is \"0 */15 * * * *\""
            ));
        }
        let parser =
            CronParser::builder().seconds(Seconds::Required).year(Year::Disallowed).build();
        let cron = parser.parse(text).map_err(|error| {
            let reason = match error {
                CronError::InvalidPattern(reason)
                | CronError::IllegalCharacters(reason)
                | CronError::ComponentError(reason) => reason,
                other => other.to_string(),
            };
            format!("not a schedule: {}", reason.trim_end_matches('.').to_lowercase())
        })?;
        let schedule = CronSchedule { text: text.to_owned(), cron: Box::new(cron) };
        // Without a year the moment of the question does not change the answer.
        if schedule.next_after(DateTime::UNIX_EPOCH, Tz::UTC).is_none() {
            return Err("this schedule never fires: there is no such date".to_owned());
        }
        Ok(schedule)
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The first moment strictly after `moment`, on the clocks of `zone`.
    pub fn next_after(&self, moment: DateTime<Utc>, zone: Tz) -> Option<DateTime<Utc>> {
        let local = zone.from_utc_datetime(&moment.naive_utc());
        let next = self.cron.find_next_occurrence(&local, false).ok()?;
        Some(next.with_timezone(&Utc))
    }
}

impl PartialEq for CronSchedule {
    fn eq(&self, other: &CronSchedule) -> bool {
        self.text == other.text
    }
}

impl Eq for CronSchedule {}

impl fmt::Display for CronSchedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for CronSchedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

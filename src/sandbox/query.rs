//! The query parameters of a collection and its feeds: names in any case, unknown ones ignored,
//! and the messages of the version for those that are wrong (edfi-wire §4).

use super::problem::Problem;
use super::version::{ApiVersion, ErrorStyle};

/// How many deletes a server before 6.0 tells when it is not asked for a number (edfi-wire §5).
const FEW_DELETES: usize = 25;

/// What a request asked of a collection.
#[derive(Clone, Debug, Default)]
pub(super) struct Query {
    pub(super) offset: Option<i64>,
    pub(super) limit: Option<i64>,
    pub(super) total_count: bool,
    pub(super) min: Option<i64>,
    pub(super) max: Option<i64>,
    pub(super) page_token: Option<String>,
    pub(super) page_size: Option<i64>,
    pub(super) number: Option<i64>,
    pub(super) allow_small_partitions: bool,
    pub(super) id: Option<String>,
    /// Everything else, names in lower case.
    pub(super) filters: Vec<(String, String)>,
}

/// Which rows of the matches a page holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    Offset {
        offset: usize,
        limit: usize,
    },
    /// Rows whose surrogate lies between the two, both included.
    Cursor {
        from: i32,
        to: i32,
        size: usize,
    },
}

impl Query {
    /// Reads what was asked of a server of this version.
    pub(super) fn read(text: &str, version: ApiVersion) -> Result<Query, Problem> {
        let query = Query::parse(text)?;
        if version.is_8() && query.min.zip(query.max).is_some_and(|(min, max)| min > max) {
            return Err(Problem::parameter(
                "MinChangeVersion must be less than or equal to MaxChangeVersion.",
            ));
        }
        Ok(query)
    }

    fn parse(text: &str) -> Result<Query, Problem> {
        let mut query = Query::default();
        for (name, value) in url::form_urlencoded::parse(text.as_bytes()) {
            let name = name.to_ascii_lowercase();
            match name.as_str() {
                "offset" => query.offset = Some(number("offset", &value)?),
                "limit" => query.limit = Some(number("limit", &value)?),
                "totalcount" => query.total_count = value.eq_ignore_ascii_case("true"),
                "minchangeversion" => query.min = Some(number("minChangeVersion", &value)?),
                "maxchangeversion" => query.max = Some(number("maxChangeVersion", &value)?),
                "pagetoken" => query.page_token = Some(value.into_owned()),
                "pagesize" => query.page_size = Some(number("pageSize", &value)?),
                "number" => query.number = Some(number("number", &value)?),
                "allowsmallpartitions" => {
                    query.allow_small_partitions = value.eq_ignore_ascii_case("true");
                }
                "id" => query.id = Some(value.into_owned()),
                "q" | "correlationid" => {}
                _ => query.filters.push((name, value.into_owned())),
            }
        }
        Ok(query)
    }

    /// The page of a collection.
    pub(super) fn page(&self, version: ApiVersion, largest: usize) -> Result<Page, Problem> {
        if !version.has_cursors() {
            let smallest = usize::from(version.errors() == ErrorStyle::Message);
            return self.offset_page(version, largest, smallest);
        }
        let Some(token) = &self.page_token else {
            if self.page_size.is_some() {
                return Err(Problem::parameter(match (self.offset, self.limit) {
                    (None, None) => "PageToken is required when pageSize is specified.",
                    _ => "Use limit instead of pageSize when using limit/offset paging.",
                }));
            }
            return self.offset_page(version, largest, 0);
        };
        if self.offset.is_some() {
            return Err(Problem::parameter(
                "Both offset and pageToken parameters were provided, but they support alternative \
                 paging approaches and cannot be used together.",
            ));
        }
        if self.limit.is_some() && self.page_size.is_none() {
            return Err(Problem::parameter(
                "Use pageSize instead of limit when using cursor paging with pageToken.",
            ));
        }
        if self.total_count {
            return Err(Problem::parameter(
                "Total count cannot be determined while using cursor paging (when pageToken is \
                 specified).",
            ));
        }
        let size = within(self.page_size, largest, 0).ok_or_else(|| {
            Problem::parameter(&format!("PageSize must be a value between 0 and {largest}."))
        })?;
        let (from, to) = read_token(token)
            .ok_or_else(|| Problem::parameter("The page token provided was invalid."))?;
        Ok(Page::Cursor { from, to, size })
    }

    /// The page of a feed, which never has cursors.
    pub(super) fn feed_page(&self, version: ApiVersion, largest: usize) -> Result<Page, Problem> {
        let wrong = |error: &str| {
            let mut problem = Problem::parameter(error);
            "Parameters supplied to the request were invalid.".clone_into(&mut problem.detail);
            problem
        };
        // As for collections: real clients count a feed by a limit of 0 (observed §2).
        let smallest = if self.total_count { 0 } else { 1 };
        // Old servers tell few deletes when they are not asked for more.
        let asked = match self.limit {
            None if !version.tells_keys() => i64::try_from(largest.min(FEW_DELETES)).ok(),
            asked => asked,
        };
        let limit = within(asked, largest, smallest).ok_or_else(|| {
            wrong(&format!("Limit must be omitted or set to a value between 1 and {largest}."))
        })?;
        let offset = usize::try_from(self.offset.unwrap_or(0))
            .map_err(|_| wrong("Offset must be greater than or equal to 0."))?;
        Ok(Page::Offset { offset, limit })
    }

    fn offset_page(
        &self,
        version: ApiVersion,
        largest: usize,
        smallest: usize,
    ) -> Result<Page, Problem> {
        // edfi-wire §4: a limit of 0 is a cheap count, which clients of old versions use too.
        let smallest = if self.total_count { 0 } else { smallest };
        let limit = within(self.limit, largest, smallest).ok_or_else(|| match version {
            ApiVersion::V8_0 => {
                let mut problem = Problem::parameter(&format!(
                    "Limit must be omitted or set to a numeric value between 0 and {largest}."
                ));
                "Parameters supplied to the request were invalid.".clone_into(&mut problem.detail);
                problem
            }
            ApiVersion::V7_3 => {
                Problem::parameter(&format!("Limit must be a value between 0 and {largest}."))
            }
            ApiVersion::V7_1 | ApiVersion::V7_2 => Problem::parameter(&format!(
                "Limit must be omitted or set to a value between 0 and {largest}."
            )),
            ApiVersion::V5_3 | ApiVersion::V6_1 => Problem::parameter(
                "Limit must be omitted or set to a value between 1 and max value defined in \
                 configuration file (defaultPageSizeLimit).",
            ),
        })?;
        let offset = usize::try_from(self.offset.unwrap_or(0))
            .map_err(|_| Problem::parameter("Offset cannot be a negative value."))?;
        Ok(Page::Offset { offset, limit })
    }

    /// Whether a version lies in the asked window; both edges belong to it.
    pub(super) fn is_in_window(&self, version: i64) -> bool {
        self.min.is_none_or(|min| version >= min) && self.max.is_none_or(|max| version <= max)
    }
}

fn within(asked: Option<i64>, largest: usize, smallest: usize) -> Option<usize> {
    let Some(asked) = asked else { return Some(largest) };
    usize::try_from(asked).ok().filter(|asked| (smallest..=largest).contains(asked))
}

fn number(name: &str, value: &str) -> Result<i64, Problem> {
    value.parse().map_err(|_| {
        Problem::invalid(vec![(
            format!("$.{name}"),
            format!("The value '{value}' is not valid for {name}."),
        )])
    })
}

/// A token as real servers write them: `from,to` in base64 for URLs.
pub(super) fn write_token(from: i32, to: i32) -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(format!("{from},{to}"))
}

fn read_token(token: &str) -> Option<(i32, i32)> {
    use base64::Engine;
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(token).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (from, to) = text.split_once(',')?;
    Some((from.parse().ok()?, to.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_what_the_real_server_writes() {
        assert_eq!(write_token(-2_147_475_584, -2_147_467_521), "LTIxNDc0NzU1ODQsLTIxNDc0Njc1MjE");
        assert_eq!(
            read_token("LTIxNDc0NzU1ODQsLTIxNDc0Njc1MjE"),
            Some((-2_147_475_584, -2_147_467_521))
        );
    }
}

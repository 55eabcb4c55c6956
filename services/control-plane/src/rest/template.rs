//! Path templates of `google.api.http`: `/v1/{name=tenants/*/endpoints/*}:pause`.
//!
//! Supported: literals, `*`, variables over those, a verb at the end. `**` is refused when the table is built: no resource
//! name of ours has an unknown number of parts.

use percent_encoding::percent_decode_str;

/// A parsed template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template {
    segments: Vec<Segment>,
    variables: Vec<Variable>,
    verb: Option<String>,
}

/// One part of a path between slashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Segment {
    /// Exactly this text.
    Literal(String),
    /// Any text but none.
    Wildcard,
}

/// A run of segments that is bound to a field.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Variable {
    /// The field's path in the request message, such as `endpoint.name`.
    field: String,
    /// Index of its first segment.
    start: usize,
    /// How many segments it spans.
    len: usize,
}

/// What a path gave to a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Capture {
    /// The field's path in the request message, such as `endpoint.name`.
    pub(super) field: String,
    /// The text, decoded.
    pub(super) value: String,
}

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    /// What is malformed or unsupported, in words.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix('/').ok_or("does not start with /")?;
        // A verb comes after the last `}` and the last `/`: a colon cannot stand inside a literal.
        let (path, verb) = match rest.rfind(':') {
            Some(at) if !rest.get(at..).is_some_and(|tail| tail.contains(['/', '}'])) => {
                let (path, verb) = rest.split_at(at);
                (path, Some(verb.trim_start_matches(':').to_owned()))
            }
            _ => (rest, None),
        };
        let mut template = Self { segments: Vec::new(), variables: Vec::new(), verb };
        let mut rest = path;
        loop {
            rest = template.part(rest)?;
            match rest.strip_prefix('/') {
                Some(next) => rest = next,
                None if rest.is_empty() => return Ok(template),
                None => return Err(format!("unexpected {rest:?}")),
            }
        }
    }

    /// Takes one segment or variable off the front of `text` and returns what follows it.
    fn part<'t>(&mut self, text: &'t str) -> Result<&'t str, String> {
        let Some(variable) = text.strip_prefix('{') else {
            let (segment, rest) = text.split_at(text.find('/').unwrap_or(text.len()));
            self.segments.push(Segment::parse(segment)?);
            return Ok(rest);
        };
        let (variable, rest) = variable.split_once('}').ok_or("{ without }")?;
        let (field, pattern) = variable.split_once('=').unwrap_or((variable, "*"));
        let start = self.segments.len();
        for segment in pattern.split('/') {
            self.segments.push(Segment::parse(segment)?);
        }
        let len = self.segments.len() - start;
        self.variables.push(Variable { field: field.to_owned(), start, len });
        Ok(rest)
    }

    /// Returns what `path` binds, or nothing when it does not match.
    pub(super) fn matches(&self, path: &RequestPath<'_>) -> Option<Vec<Capture>> {
        if path.verb != self.verb.as_deref() || path.segments.len() != self.segments.len() {
            return None;
        }
        let matches =
            self.segments.iter().zip(&path.segments).all(|(pattern, text)| match pattern {
                Segment::Literal(literal) => literal == text,
                Segment::Wildcard => !text.is_empty(),
            });
        if !matches {
            return None;
        }
        let capture = |variable: &Variable| {
            let segments: Vec<_> = path
                .segments
                .iter()
                .skip(variable.start)
                .take(variable.len)
                .map(|s| decode(s))
                .collect();
            Capture { field: variable.field.clone(), value: segments.join("/") }
        };
        Some(self.variables.iter().map(capture).collect())
    }

    /// The segments, for the OpenAPI document.
    pub(super) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The verb after the colon.
    pub(super) fn verb(&self) -> Option<&str> {
        self.verb.as_deref()
    }

    /// The first parts of the fields that the path binds: `endpoint` for `endpoint.name`.
    pub(super) fn fields(&self) -> impl Iterator<Item = &str> {
        self.variables.iter().map(|variable| variable.field.as_str())
    }
}

impl Segment {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "*" => Ok(Self::Wildcard),
            "" => Err("an empty segment".to_owned()),
            _ if text.contains(['*', '{', '}', ':']) => {
                Err(format!("unsupported segment {text:?}"))
            }
            _ => Ok(Self::Literal(text.to_owned())),
        }
    }
}

/// The path of a request, split; still percent-encoded.
#[derive(Debug)]
pub(super) struct RequestPath<'a> {
    segments: Vec<&'a str>,
    verb: Option<&'a str>,
}

impl<'a> RequestPath<'a> {
    pub(super) fn new(path: &'a str) -> Self {
        let path = path.strip_prefix('/').unwrap_or(path);
        let (head, last) =
            path.rsplit_once('/').map_or((None, path), |(head, last)| (Some(head), last));
        let (last, verb) =
            last.rsplit_once(':').map_or((last, None), |(last, verb)| (last, Some(verb)));
        let mut segments: Vec<_> = head.map(|head| head.split('/').collect()).unwrap_or_default();
        segments.push(last);
        Self { segments, verb }
    }
}

/// Percent-decodes one segment; bytes that are not UTF-8 become U+FFFD, which no resource id allows. An encoded slash stays
/// encoded: decoded it would make one part of a name look like several.
fn decode(segment: &str) -> String {
    let decoded = percent_decode_str(segment).decode_utf8_lossy();
    if decoded.contains('/') { segment.to_owned() } else { decoded.into_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(template: &str, path: &str) -> Option<Vec<(String, String)>> {
        let captures =
            Template::parse(template).expect("parses").matches(&RequestPath::new(path))?;
        Some(captures.into_iter().map(|capture| (capture.field, capture.value)).collect())
    }

    #[test]
    fn variables_span_their_pattern() {
        let got =
            bound("/v1/{endpoint.name=tenants/*/endpoints/*}", "/v1/tenants/t/endpoints/e%2D1");
        assert_eq!(got, Some(vec![("endpoint.name".into(), "tenants/t/endpoints/e-1".into())]));
    }

    #[test]
    fn an_encoded_slash_makes_no_new_part() {
        let got =
            bound("/v1/{parent=tenants/*}/endpoints", "/v1/tenants/t%2Fendpoints%2fe/endpoints");
        assert_eq!(got, Some(vec![("parent".into(), "tenants/t%2Fendpoints%2fe".into())]));
    }

    #[test]
    fn verbs_match_only_themselves() {
        let template = "/v1/{name=tenants/*/endpoints/*}:pause";
        assert!(bound(template, "/v1/tenants/t/endpoints/e:pause").is_some());
        assert_eq!(bound(template, "/v1/tenants/t/endpoints/e:resume"), None);
        assert_eq!(bound(template, "/v1/tenants/t/endpoints/e"), None);
        assert_eq!(
            bound("/v1/{name=tenants/*/endpoints/*}", "/v1/tenants/t/endpoints/e:pause"),
            None
        );
        assert!(
            bound("/v1/{parent=tenants/*}/events:publish", "/v1/tenants/t/events:publish")
                .is_some()
        );
    }

    #[test]
    fn empty_and_extra_segments_do_not_match() {
        let template = "/v1/{parent=tenants/*}/endpoints";
        for path in [
            "/v1/tenants//endpoints",
            "/v1/tenants/t/endpoints/",
            "/v1/tenants/t/u/endpoints",
            "/",
            "",
        ] {
            assert_eq!(bound(template, path), None, "{path}");
        }
    }

    #[test]
    fn unsupported_templates_are_refused() {
        for template in ["v1", "/v1/{name=**}", "/v1/{name", "/v1//x", "/v1/{a=*}x"] {
            assert!(Template::parse(template).is_err(), "{template}");
        }
    }
}

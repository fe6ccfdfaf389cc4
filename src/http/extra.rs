//! What every answer says besides what it is about: how it may be kept, and the fields that the
//! operator adds.

use super::octets::TOKEN;

/// Whether an answer may be kept (RFC 9111 §5.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caching {
    /// As the operator says; `no-cache` unless they say so: it may be kept, and must be revalidated
    /// before each use.
    AsConfigured,
    /// `no-store`: errors, and what stands in for something else.
    Never,
}

/// The fields that the operator adds to every answer, spelled out once for all of them: a site may
/// have a hundred thousand heads, and a policy may be longer than most of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extra {
    cache_control: Option<String>,
    /// Each with its CRLF, without `Cache-Control`.
    lines: String,
    /// With `Cache-Control`, for [`Caching::AsConfigured`] and [`Caching::Never`].
    blocks: [Box<str>; 2],
}

impl Default for Extra {
    fn default() -> Self {
        let mut extra =
            Self { cache_control: None, lines: String::new(), blocks: Default::default() };
        extra.spell();
        extra
    }
}

/// What tine says by itself, and nobody else can know better.
const OWN: [&str; 11] = [
    "accept-ranges",
    "allow",
    "content-encoding",
    "content-range",
    "content-type",
    "date",
    "etag",
    "last-modified",
    "location",
    "retry-after",
    "x-content-type-options",
];

/// What says where an answer ends and what becomes of its connection (RFC 9110 §7.6.1, RFC 9112
/// §6): with a second opinion on that a client would read another answer.
const FRAMING: [&str; 9] = [
    "connection",
    "content-length",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

impl Extra {
    /// Adds a field; a `Cache-Control` takes the place of tine's own for what may be kept.
    ///
    /// # Errors
    /// The mend, if the line is no field (RFC 9110 §5.1, §5.5), or one that is not the operator's
    /// to say.
    pub fn add(&mut self, line: &str) -> Result<(), String> {
        let (name, value) = line
            .split_once(':')
            .map(|(name, value)| (name, value.trim_matches([' ', '\t'])))
            .filter(|(name, value)| !name.is_empty() && !value.is_empty())
            .ok_or("is not a field; write 'Name: value'")?;
        if TOKEN.span(name.as_bytes()) < name.len() {
            return Err("has a name that is not a token; write letters, digits and -".to_owned());
        }
        if !value.bytes().all(|byte| byte.is_ascii_graphic() || matches!(byte, b' ' | b'\t')) {
            return Err("has a value with other than visible ASCII; write it encoded".to_owned());
        }
        let known = name.to_ascii_lowercase();
        if FRAMING.contains(&&*known) {
            return Err(format!("would break the framing of answers; leave out {name}"));
        }
        if OWN.contains(&&*known) {
            return Err(format!("is for tine to say, answer by answer; leave out {name}"));
        }
        if known != "cache-control" {
            self.lines.extend([name, ": ", value, "\r\n"]);
        } else if self.cache_control.replace(value.to_owned()).is_some() {
            return Err("is a second Cache-Control; write one with all directives".to_owned());
        }
        self.spell();
        Ok(())
    }

    fn spell(&mut self) {
        let configured = self.cache_control.as_deref().unwrap_or("no-cache");
        self.blocks = [configured, "no-store"]
            .map(|directives| format!("Cache-Control: {directives}\r\n{}", self.lines).into());
    }

    /// The field lines for an answer, each with its CRLF.
    pub fn block(&self, caching: Caching) -> &str {
        &self.blocks[caching as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[&str]) -> Result<Extra, String> {
        let mut extra = Extra::default();
        lines.iter().try_for_each(|line| extra.add(line))?;
        Ok(extra)
    }

    #[test]
    fn fields_are_added_in_order_and_cache_control_is_replaced() {
        let plain = Extra::default();
        assert_eq!(plain.block(Caching::AsConfigured), "Cache-Control: no-cache\r\n");
        assert_eq!(plain.block(Caching::Never), "Cache-Control: no-store\r\n");
        let lines = ["X-A:b", "cache-control: max-age=60", "Link:\t<a>; rel=b ", "Link: <c>"];
        let extra = of(&lines).unwrap();
        let rest = "X-A: b\r\nLink: <a>; rel=b\r\nLink: <c>\r\n";
        let configured = format!("Cache-Control: max-age=60\r\n{rest}");
        assert_eq!(extra.block(Caching::AsConfigured), configured);
        assert_eq!(extra.block(Caching::Never), format!("Cache-Control: no-store\r\n{rest}"));
    }

    #[test]
    fn what_would_break_an_answer_is_refused_with_the_mend() {
        for (line, mend) in [
            ("", "write 'Name: value'"),
            ("X-A", "write 'Name: value'"),
            (": b", "write 'Name: value'"),
            ("X-A: \t", "write 'Name: value'"),
            ("X A: b", "not a token"),
            ("X-A : b", "not a token"),
            (" X-A: b", "not a token"),
            ("X-\u{e4}: b", "not a token"),
            ("X-A: b\r\nX-B: c", "visible ASCII"),
            ("X-A: b\n", "visible ASCII"),
            ("X-A: \0", "visible ASCII"),
            ("X-A: \u{e4}", "visible ASCII"),
            ("content-length: 5", "framing"),
            ("Transfer-Encoding: chunked", "framing"),
            ("CONNECTION: close", "framing"),
            ("ETag: \"a\"", "leave out ETag"),
            ("date: now", "leave out date"),
        ] {
            let complaint = of(&[line]).expect_err(line);
            assert!(complaint.contains(mend), "{line:?}: {complaint}");
        }
        let twice = of(&["Cache-Control: a", "cache-control: b"]).expect_err("two");
        assert!(twice.contains("second Cache-Control"), "{twice}");
    }
}

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
    /// The field lines for every answer, each with its CRLF.
    lines: String,
    /// Those besides `Cache-Control` that tell some caches what to keep.
    caching_lines: String,
    /// With `Cache-Control`, for [`Caching::AsConfigured`] and [`Caching::Never`].
    blocks: [Box<str>; 2],
}

impl Default for Extra {
    fn default() -> Self {
        let (lines, caching_lines, blocks) = Default::default();
        let mut extra = Self { cache_control: None, lines, caching_lines, blocks };
        extra.spell();
        extra
    }
}

/// What tine says by itself, or what is true of one representation and not of every answer.
const OWN: [&str; 17] = [
    "accept-ranges",
    "age",
    "allow",
    "content-digest",
    "content-encoding",
    "content-location",
    "content-md5",
    "content-range",
    "content-type",
    "date",
    "digest",
    "etag",
    "last-modified",
    "location",
    "repr-digest",
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
            let lines =
                if tells_caches(&known) { &mut self.caching_lines } else { &mut self.lines };
            lines.extend([name, ": ", value, "\r\n"]);
        } else if self.cache_control.replace(value.to_owned()).is_some() {
            return Err("is a second Cache-Control; write one with all directives".to_owned());
        }
        self.spell();
        Ok(())
    }

    fn spell(&mut self) {
        let Self { cache_control, lines, caching_lines, .. } = self;
        let configured = cache_control.as_deref().unwrap_or("no-cache");
        self.blocks = [
            format!("Cache-Control: {configured}\r\n{caching_lines}{lines}").into(),
            format!("Cache-Control: no-store\r\n{lines}").into(),
        ];
    }

    /// The field lines for an answer, each with its CRLF.
    pub fn block(&self, caching: Caching) -> &str {
        &self.blocks[caching as usize]
    }
}

/// Whether a field, in lower case, overrules `Cache-Control` for somebody: the targeted ones of
/// RFC 9213 §2, what came before them, and `Expires`.
fn tells_caches(name: &str) -> bool {
    name.ends_with("-cache-control")
        || ["surrogate-control", "x-accel-expires", "expires", "pragma"].contains(&name)
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
    fn nothing_tells_a_cache_to_keep_an_error() {
        let extra = of(&["CDN-Cache-Control: max-age=9", "Expires: never", "X-A: b"]).unwrap();
        let configured = extra.block(Caching::AsConfigured);
        assert!(configured.contains("CDN-Cache-Control: max-age=9\r\nExpires: never\r\n"));
        let never = "Cache-Control: no-store\r\nX-A: b\r\n";
        assert_eq!(extra.block(Caching::Never), never);
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
            ("Content-Digest: sha-256=:AA==:", "leave out Content-Digest"),
        ] {
            let complaint = of(&[line]).expect_err(line);
            assert!(complaint.contains(mend), "{line:?}: {complaint}");
        }
        let twice = of(&["Cache-Control: a", "cache-control: b"]).expect_err("two");
        assert!(twice.contains("second Cache-Control"), "{twice}");
    }
}

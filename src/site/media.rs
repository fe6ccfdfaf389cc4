//! Media types by file name.

use mime_guess::from_ext;

/// What a file without a known extension is called (RFC 9110 §8.3).
pub(super) const UNKNOWN: &str = "application/octet-stream";

/// The media type of a file by the extension of its name, without parameters.
pub fn of(name: &[u8]) -> &'static str {
    let Some(extension) = extension(name) else { return UNKNOWN };
    corrected(&extension.to_ascii_lowercase())
        .or_else(|| from_ext(extension).first_raw())
        .unwrap_or(UNKNOWN)
}

/// Where the table of the library is behind the registry, or of another world than the web's.
fn corrected(extension: &str) -> Option<&'static str> {
    Some(match extension {
        "js" | "mjs" | "cjs" => "text/javascript",
        "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "xml" | "xsl" | "xsd" => "application/xml",
        "dtd" => "application/xml-dtd",
        "vcf" => "text/vcard",
        "ts" => "video/mp2t",
        "woff" => "font/woff",
        "otf" => "font/otf",
        "ttf" => "font/ttf",
        "m3u8" => "application/vnd.apple.mpegurl",
        "m4a" => "audio/mp4",
        "m4v" => "video/mp4",
        "opus" => "audio/ogg",
        "ico" => "image/vnd.microsoft.icon",
        "md" => "text/markdown",
        "yaml" | "yml" => "application/yaml",
        "zst" => "application/zstd",
        // Shown as an image, svgz would need its coding said beside it.
        "gz" | "tgz" | "svgz" => "application/gzip",
        "7z" => "application/x-7z-compressed",
        "vtt" => "text/vtt",
        _ => return None,
    })
}

/// The parameter that goes with a media type: text is UTF-8 on today's web, but XML says its own
/// encoding and JSON has only one.
pub fn parameter(media_type: &str) -> &'static str {
    if media_type.starts_with("text/") { "; charset=utf-8" } else { "" }
}

/// Whether a media type is one of texts, or of something else that gzip makes much smaller.
pub fn is_text(media_type: &str) -> bool {
    const OTHERS: [&str; 5] = [
        "application/json",
        "application/wasm",
        "application/xml",
        "application/xml-dtd",
        "application/yaml",
    ];
    media_type.starts_with("text/")
        || media_type.ends_with("+xml")
        || media_type.ends_with("+json")
        || OTHERS.contains(&media_type)
}

/// What follows the last dot of a name, if a name stands before it.
fn extension(name: &[u8]) -> Option<&str> {
    let dot = name.iter().rposition(|&byte| byte == b'.').filter(|&dot| dot > 0)?;
    std::str::from_utf8(&name[dot + 1..]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_modern_site_is_typed_right() {
        for (name, expected) in [
            ("index.html", "text/html"),
            ("a.htm", "text/html"),
            ("A.HTML", "text/html"),
            ("a.min.js", "text/javascript"),
            ("a.mjs", "text/javascript"),
            ("a.css", "text/css"),
            ("a.json", "application/json"),
            ("a.js.map", "application/json"),
            ("a.wasm", "application/wasm"),
            ("a.svg", "image/svg+xml"),
            ("a.woff2", "font/woff2"),
            ("a.woff", "font/woff"),
            ("a.ttf", "font/ttf"),
            ("a.otf", "font/otf"),
            ("a.avif", "image/avif"),
            ("a.webp", "image/webp"),
            ("a.png", "image/png"),
            ("a.jpg", "image/jpeg"),
            ("a.jpeg", "image/jpeg"),
            ("a.gif", "image/gif"),
            ("a.ico", "image/vnd.microsoft.icon"),
            ("a.webmanifest", "application/manifest+json"),
            ("a.txt", "text/plain"),
            ("a.xml", "application/xml"),
            ("a.rss", "application/rss+xml"),
            ("a.atom", "application/atom+xml"),
            ("a.pdf", "application/pdf"),
            ("a.mp4", "video/mp4"),
            ("a.webm", "video/webm"),
            ("a.mp3", "audio/mpeg"),
            ("a.ogg", "audio/ogg"),
            ("a.wav", "audio/wav"),
            ("a.m3u8", "application/vnd.apple.mpegurl"),
            ("a.ts", "video/mp2t"),
            ("a.vtt", "text/vtt"),
            ("a.csv", "text/csv"),
            ("a.md", "text/markdown"),
            ("a.zip", "application/zip"),
            ("a.tar.gz", "application/gzip"),
            ("a.tgz", "application/gzip"),
            ("a.svgz", "application/gzip"),
            ("a.xsl", "application/xml"),
            ("a.vcf", "text/vcard"),
            ("a", UNKNOWN),
            ("a.", UNKNOWN),
            ("html", UNKNOWN),
            ("a.unheard-of", UNKNOWN),
            ("a.\u{e9}", UNKNOWN),
        ] {
            assert_eq!(of(name.as_bytes()), expected, "{name}");
        }
        assert_eq!(of(b"a.\xff"), UNKNOWN);
    }

    #[test]
    fn text_has_a_charset_and_nothing_else_has() {
        assert_eq!(parameter("text/html"), "; charset=utf-8");
        assert_eq!(parameter("application/json"), "");
        assert_eq!(parameter("image/svg+xml"), "");
    }
}

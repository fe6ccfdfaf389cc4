//! A browser goes through a site: what it shows, what it asks for, and what it keeps.

use std::fs;
use std::process::Command;

use crate::chromium::{Chromium, Exchange};
use crate::harness::{Folder, Tine, until};

const PAGE: &str = "<!doctype html><meta charset=utf-8><title>first</title>\
    <link rel=icon href=data:><link rel=stylesheet href=/style.css><script src=/app.js></script>\
    <h1>h</h1><img id=i src=/image.png><img id=m src=/missing.png>\
    <video id=v src=/film.webm preload=metadata></video><a id=a href=/docs>second</a>";
const STYLE: &str = "@font-face { font-family: F; src: url(/font.ttf) }\
    h1 { color: rgb(1, 2, 3); font-family: F }";
const FONT: &str = "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf";

/// A page with all that pages have, and another one.
fn site() -> Folder {
    let folder = Folder::new(&[
        ("index.html", PAGE.as_bytes()),
        ("style.css", STYLE.as_bytes()),
        ("app.js", b"window.ran = true"),
        ("docs/index.html", b"<!doctype html><title>second</title>"),
        ("404.html", b"<!doctype html><title>nothing here</title>"),
    ]);
    fs::copy(FONT, folder.join("font.ttf")).unwrap();
    // Noise, so that it is long in bytes as well.
    for (file, args) in [
        ("film.webm", "-t 30 -c:v libvpx -deadline realtime -cpu-used 8 -b:v 4M -g 10"),
        ("image.png", "-frames:v 1"),
    ] {
        let source = "testsrc2=size=320x240:rate=10,noise=alls=80:allf=t";
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-loglevel", "error", "-f", "lavfi", "-i", source]).args(args.split(' '));
        assert!(ffmpeg.arg(folder.join(file)).status().unwrap().success());
    }
    for file in ["font.ttf", "film.webm", "image.png"] {
        folder.date(file, 1_000_000_000);
    }
    folder
}

/// The path and the status of what went over the network, in the order of paths.
fn statuses(exchanges: &[Exchange]) -> Vec<(&str, Option<u64>)> {
    let mut statuses: Vec<_> =
        exchanges.iter().map(|exchange| (&*exchange.path, exchange.status)).collect();
    statuses.sort_unstable();
    statuses.dedup();
    statuses
}

/// The same without the parts of the film that the browser has already, and may ask about again.
fn without_film_parts_in_cache(exchanges: &[Exchange]) -> Vec<(&str, Option<u64>)> {
    let in_cache = ("/film.webm", Some(304));
    statuses(exchanges).into_iter().filter(|&exchange| exchange != in_cache).collect()
}

#[test]
fn a_browser_shows_keeps_and_asks_again() {
    let folder = site();
    let tine = Tine::serve(&folder, &[]);
    let url = format!("http://{}/", tine.address);
    let mut browser = Chromium::start();

    browser.navigate(&url);
    assert_eq!(browser.evaluate("window.ran"), true);
    assert_eq!(
        browser.evaluate("getComputedStyle(document.querySelector('h1')).color"),
        "rgb(1, 2, 3)"
    );
    assert_eq!(
        browser.evaluate("document.fonts.load('1em F').then(fonts => fonts[0].status)"),
        "loaded"
    );
    assert_eq!(browser.evaluate("[i.naturalWidth, m.naturalWidth].join()"), "320,0");
    browser.until("v.readyState > 0 && v.duration > 29");
    let first = browser.exchanges();
    let parts = [
        ("/", Some(200)),
        ("/app.js", Some(200)),
        ("/film.webm", Some(206)),
        ("/font.ttf", Some(200)),
        ("/image.png", Some(200)),
        ("/missing.png", Some(404)),
        ("/style.css", Some(200)),
    ];
    assert_eq!(without_film_parts_in_cache(&first), parts);
    let types = first.iter().map(|exchange| (&*exchange.path, &*exchange.media_type));
    for expected in
        [("/style.css", "text/css"), ("/app.js", "text/javascript"), ("/film.webm", "video/webm")]
    {
        assert!(types.clone().any(|found| found == expected), "{expected:?} of {first:?}");
    }
    // The missing image, and nothing about types or codings.
    assert!(
        browser.complaints().iter().all(|text| text.contains("404")),
        "{:?}",
        browser.complaints()
    );

    // A second visit asks for all of it again, and is sent nothing of it again.
    browser.navigate("about:blank");
    browser.navigate(&url);
    browser.until("v.readyState > 0 && document.fonts.check('1em F')");
    let again = browser.exchanges();
    let film = ("/film.webm", Some(206));
    let unchanged = parts.map(|(path, status)| (path, status.filter(|&s| s == 404).or(Some(304))));
    let again: Vec<_> = statuses(&again).into_iter().filter(|&exchange| exchange != film).collect();
    assert_eq!(again, unchanged);

    // A hard reload wants everything anew.
    browser.reload_without_cache();
    browser.until("v.readyState > 0 && document.fonts.check('1em F')");
    assert_eq!(without_film_parts_in_cache(&browser.exchanges()), parts);
}

#[test]
fn a_browser_seeks_in_a_film() {
    let folder = site();
    let tine = Tine::serve(&folder, &[]);
    let mut browser = Chromium::start();
    browser.navigate(&format!("http://{}/", tine.address));
    browser.until("v.readyState > 0");
    let size = fs::metadata(folder.join("film.webm")).unwrap().len();
    for second in [25, 3, 28] {
        let seek = format!(
            "new Promise((done, fail) => {{ v.onseeked = () => done(v.currentTime); \
             v.onerror = fail; v.currentTime = {second} }})"
        );
        assert_eq!(browser.evaluate(&seek), second);
        browser.until("v.readyState >= 2");
    }
    let exchanges = browser.exchanges();
    let starts: Vec<u64> = exchanges
        .iter()
        .filter(|exchange| exchange.path == "/film.webm")
        .map(|exchange| {
            let range = exchange.content_range.as_deref().expect("a part");
            assert!(range.ends_with(&format!("/{size}")), "{range} of {size}");
            range["bytes ".len()..].split('-').next().unwrap().parse().unwrap()
        })
        .collect();
    assert!(starts.iter().any(|&start| start > size / 2), "{starts:?} of {size}");
}

#[test]
fn a_browser_goes_back_and_forth() {
    let folder = site();
    let tine = Tine::serve(&folder, &[]);
    let mut browser = Chromium::start();
    browser.navigate(&format!("http://{}/", tine.address));
    // A folder without its slash is a redirect.
    browser.evaluate("a.click()");
    browser.until("document.title == 'second' && location.pathname == '/docs/'");
    for (step, title) in [("back", "first"), ("forward", "second"), ("back", "first")] {
        browser.evaluate(&format!("setTimeout(() => history.{step}())"));
        browser.until(&format!("document.title == '{title}' && document.readyState == 'complete'"));
    }
    assert_eq!(
        browser.evaluate("getComputedStyle(document.querySelector('h1')).color"),
        "rgb(1, 2, 3)"
    );
    browser.navigate(&format!("http://{}/nowhere", tine.address));
    assert_eq!(browser.evaluate("document.title"), "nothing here");
}

#[test]
fn a_browser_goes_to_pages_that_one_page_shows() {
    let folder = Folder::new(&[
        ("index.html", b"<!doctype html><title>app</title><script src=/app.js></script>"),
        ("app.js", b"document.title += location.pathname"),
    ]);
    let tine = Tine::serve(&folder, &["--spa"]);
    let mut browser = Chromium::start();
    for path in ["/user/7", "/user/john.doe"] {
        browser.navigate(&format!("http://{}{path}", tine.address));
        assert_eq!(browser.evaluate("document.title"), format!("app{path}"));
    }
    let fetched = "fetch('/data.json').then(answer => answer.status)";
    assert_eq!(browser.evaluate(fetched), 404);
    let script = "new Promise(done => { \
        const chunk = document.createElement('script'); chunk.src = '/chunk.js'; \
        chunk.onload = () => done('loaded'); chunk.onerror = () => done('missing'); \
        document.head.append(chunk) })";
    assert_eq!(browser.evaluate(script), "missing");
    // Never kept: a second visit is not a revalidation.
    browser.navigate(&format!("http://{}/user/7", tine.address));
    assert!(statuses(&browser.exchanges()).contains(&("/user/7", Some(200))));
}

#[test]
fn a_page_that_was_open_before_a_change_still_finds_its_chunk() {
    let page = "<!doctype html><title>old</title><script type=module>\
        window.load = () => import('/assets/lazy-BkR3xY9z.js').then(m => document.title = m.name)\
        </script>";
    let folder = Folder::new(&[
        ("index.html", page.as_bytes()),
        ("assets/lazy-BkR3xY9z.js", b"export const name = 'loaded'"),
    ]);
    let tine = Tine::serve(&folder, &[]);
    let mut browser = Chromium::start();
    browser.navigate(&format!("http://{}/", tine.address));
    browser.until("document.title == 'old' && typeof load == 'function'");
    // The next build has another chunk, and not this one any more.
    fs::remove_file(folder.join("assets/lazy-BkR3xY9z.js")).unwrap();
    folder.write("assets/lazy-Qw7Zp2Lm.js", b"export const name = 'other'");
    folder.write("index.html", b"<!doctype html><title>new</title>");
    until("it serves", || tine.get("/").text().contains("new").then_some(()));
    browser.evaluate("window.load()");
    browser.until("document.title == 'loaded'");
}

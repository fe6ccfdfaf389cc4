//! The compiler's side of the arena.

use std::fs;

use tempfile::tempdir;
use tine::compile::{Job, Root, Rules, SiteLimits, compile};
use tine::control::publication::InUse;
use tine::host::arena::Arena;

/// Bodies that fill a little more than a page, or than half of one, cost whole pages.
#[test]
fn bodies_take_no_more_pages_than_the_memory_has() {
    let memory_max = 1 << 20;
    for size in [2100, 4200] {
        let root = tempdir().unwrap();
        fs::write(root.path().join("small"), [b'x'; 100]).unwrap();
        for number in 0..500 {
            let body = format!("{number:05}").repeat(size / 5);
            fs::write(root.path().join(format!("{number}.html")), body).unwrap();
        }
        let limits = SiteLimits { memory_max, gzip_max: 0, ..SiteLimits::default() };
        let rules = Rules { limits, ..Rules::default() };
        let mut memory = Arena::create(1 << 24).unwrap().into_memory().unwrap();
        memory.begin(memory_max + memory_max / 4);
        let job = Job::first(&rules, 2_000_000_000);
        let (watch, interrupt) = (&mut |_: std::os::fd::BorrowedFd<'_>| (), &mut || false);
        let opened = Root::new(root.path()).unwrap();
        let site = compile(&opened, &job, None, &mut memory, watch, interrupt).unwrap();
        let site = site.ready().unwrap();
        let allocated = memory.stats().allocated;
        assert!(allocated <= memory_max, "{allocated} bytes for bodies of {size}");
        assert!(allocated > memory_max * 3 / 4, "{allocated} bytes for bodies of {size}");
        assert!(!site.summary.lacks_memory);
    }
}

#[test]
fn abandoned_image_releases_nothing_that_a_reader_may_use() {
    let mut memory = Arena::create(1 << 20).unwrap().into_memory().unwrap();
    memory.begin(u64::MAX);
    let body = memory.put(&[b'a'; 5000]).unwrap();
    memory.close().unwrap();
    let allocated = memory.stats().allocated;
    memory.retire(body, 1, 2);

    memory.begin(u64::MAX);
    memory.put(&[b'b'; 9000]).unwrap();
    assert!(memory.stats().allocated > allocated);
    memory.abandon_new();
    assert_eq!(memory.stats().allocated, allocated, "what is new is given back, and no more");
    assert_eq!(memory.view().bytes(body.offset, body.len), Some(&[b'a'; 5000][..]));

    memory.release(&InUse { generations: vec![1], pins: Vec::new() });
    assert_eq!(memory.stats().allocated, allocated);
    memory.release(&InUse::default());
    assert_eq!(memory.stats().allocated, 0);
}

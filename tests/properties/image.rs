//! The site image: what is written is read again, and damaged bytes are an error and nothing worse.

use proptest::prelude::*;
use tine::http::etag::ETag;
use tine::site::{
    About, Content, Draft, Extent, FileStat, Finished, Form, Former, Place, Probe, Route, Selected,
    Site, View,
};

use crate::image_spec::{FileSpec, FormSpec, MEDIA, SiteSpec, apply, damage, site};
use crate::images::{seal, use_everything, wishes};

const INDEX: &[u8] = b"index.html";

/// A spec and where its bytes are.
struct Written<'s> {
    spec: &'s SiteSpec,
    arena: Vec<u8>,
    offset: u64,
    /// For each file the extents of body and head, and the same of each variant.
    places: Vec<Vec<[Extent; 2]>>,
}

/// Appends bytes to the arena.
fn put(arena: &mut Vec<u8>, bytes: &[u8]) -> Extent {
    let offset = arena.len() as u64;
    arena.extend_from_slice(bytes);
    Extent { offset, len: bytes.len() as u64 }
}

/// Adds a form to the draft, and its bytes to the arena.
fn add_form(
    draft: &mut Draft,
    arena: &mut Vec<u8>,
    path: &[u8],
    file: &FileSpec,
    spec: &FormSpec,
) -> (Form, [Extent; 2]) {
    let (body, head) = (put(arena, &spec.body), put(arena, &spec.head));
    let stat = file.stat(spec.body.len());
    let etag = spec.digest.map(|digest| ETag::from_digest(&digest));
    let place = if spec.is_on_disk {
        Place::Disk { url: path, path: &file.real_path(path), stat: &stat }
    } else {
        Place::Memory(body, spec.births.0.into())
    };
    let modified = spec.modified.map(u64::from);
    let mut form = draft.form(MEDIA[file.media], body.len, place, etag, modified);
    if !spec.head.is_empty() {
        form = form.with_head(head, spec.births.1.into());
    }
    (if spec.is_dense { form.dense() } else { form }, [body, head])
}

fn write(spec: &SiteSpec) -> (Finished, Written<'_>) {
    let (mut draft, mut arena) = (Draft::default(), Vec::new());
    let mut places = Vec::new();
    for (number, file) in spec.files.iter().enumerate() {
        let path = file.path(number);
        let (form, place) = add_form(&mut draft, &mut arena, &path, file, &file.form);
        let mut file_places = vec![place];
        let variants: Vec<_> = file.codings().collect();
        let variants = variants.into_iter().map(|coding| {
            let (form, place) = add_form(&mut draft, &mut arena, &path, file, &file.variant);
            file_places.push(place);
            (form.with_coding(coding), file.variant.origin)
        });
        let variants: Vec<_> = variants.collect();
        let stat = file.stat(file.form.body.len());
        let added = match file.retained_since {
            Some(since) => draft.retained_file(form, &stat, since),
            None => draft.file(form, &stat),
        };
        assert_eq!(added as usize, number);
        draft.variants(added, &variants);
        draft.path(&path, added);
        if file.is_index {
            draft.directory_of_last(INDEX);
        }
        places.push(file_places);
    }
    for name in &spec.unreadable {
        draft.unreadable(&[b"/unreadable-", &name[..]].concat());
    }
    if spec.has_probes {
        draft.probes();
    }
    draft.set_not_found((!spec.files.is_empty()).then_some(0));
    let (generation, root, as_of) = spec.about;
    let finished = draft.finish(About { generation, root, as_of }).unwrap();
    arena.extend(vec![0xaa; spec.gap]);
    let offset = put(&mut arena, &finished.clone().to_bytes()).offset;
    (finished, Written { spec, arena, offset, places })
}

impl Written<'_> {
    fn check_site(&self, site: &Site<'_>) {
        let (generation, root, ..) = self.spec.about;
        assert_eq!((site.generation(), site.is_there()), (generation, root.is_some()));
        assert_eq!(site.root(), root.unwrap_or_default());
        assert_eq!(site.verify(), Ok(()));
        for (number, file) in self.spec.files.iter().enumerate() {
            let path = file.path(number);
            let mut paths = vec![path.clone()];
            if file.is_index {
                let directory = path.strip_suffix(INDEX).unwrap().to_owned();
                let bare = site.lookup(&directory[..directory.len() - 1]);
                assert!(matches!(bare, Some(Route::Directory)));
                paths.push(directory);
            }
            for requested in paths {
                let Some(Route::Asset(asset)) = site.lookup(&requested) else {
                    panic!("no {requested:?}")
                };
                let places = &self.places[number];
                self.check_form(site, &asset.identity(), file, &file.form, places[0], &path);
                assert_eq!(asset.identity().varies(), file.codings != 0);
                for (coding, &place) in file.codings().zip(&places[1..]) {
                    let selected = asset.select(|| wishes(coding.token()));
                    assert_eq!(selected.coding(), Some(coding));
                    self.check_form(site, &selected, file, &file.variant, place, &path);
                }
            }
            assert!(site.lookup(&[&path[..], b"?"].concat()).is_none());
        }
        for name in &self.spec.unreadable {
            let route = site.lookup(&[b"/unreadable-", &name[..]].concat());
            assert!(matches!(route, Some(Route::Unreadable)));
        }
        for (path, probe) in Probe::ALL {
            let found = matches!(site.lookup(path), Some(Route::Probe(other)) if other == probe);
            assert_eq!(found, self.spec.has_probes);
        }
        assert_eq!(site.not_found_page().is_some(), !self.spec.files.is_empty());
        assert!(site.spa_fallback().is_none() && site.lookup(b"/missing").is_none());
    }

    fn check_form(
        &self,
        site: &Site<'_>,
        selected: &Selected<'_>,
        file: &FileSpec,
        spec: &FormSpec,
        [body, _]: [Extent; 2],
        path: &[u8],
    ) {
        assert_eq!(selected.size(), spec.body.len() as u64);
        assert_eq!(selected.media_type()[0], MEDIA[file.media]);
        assert_eq!(selected.etag(), spec.digest.map(|digest| ETag::from_digest(&digest)));
        assert_eq!(selected.validators().modified, spec.modified.map(u64::from));
        let head = Some(&spec.head[..]).filter(|head| !head.is_empty());
        assert_eq!(selected.head(), head);
        match selected.content() {
            Content::Memory(extent) => {
                assert!(!spec.is_on_disk);
                assert_eq!((extent, site.bytes(extent)), (body, Some(&spec.body[..])));
            }
            Content::Disk(disk) => {
                assert!(spec.is_on_disk);
                assert_eq!((disk.url, disk.path), (path, &file.real_path(path)[..]));
                assert_eq!(disk.stat, file.stat(spec.body.len()));
            }
        }
    }

    fn check_former(&self, former: &Former<'_>) {
        let retained = self.spec.files.iter().filter(|file| file.retained_since.is_some());
        assert_eq!(former.retained() as usize, retained.count());
        assert_eq!(former.files() as usize, self.spec.files.len());
        let (.., as_of) = self.spec.about;
        assert_eq!(former.as_of(), as_of);
        for (number, file) in self.spec.files.iter().enumerate() {
            let found = former.file_at(&file.path(number)).unwrap();
            assert_eq!(found.number as usize, number);
            assert_eq!(found.stat, file.stat(file.form.body.len()));
            assert_eq!(former.retained_since(found.number), file.retained_since);
            assert_eq!(former.media_type(found), MEDIA[file.media]);
            check_former_form(&found.form, &file.form, self.places[number][0]);
            let variants: Vec<_> = former.variants(found).collect();
            assert_eq!(variants.len(), self.places[number].len() - 1);
            for (variant, &place) in variants.iter().zip(&self.places[number][1..]) {
                check_former_form(&variant.form, &file.variant, place);
                assert_eq!(variant.origin, file.variant.origin);
            }
        }
        assert!(former.file(former.files()).is_none());
    }
}

fn check_former_form(form: &Form, spec: &FormSpec, [body, head]: [Extent; 2]) {
    let (body_birth, head_birth) = (u64::from(spec.births.0), u64::from(spec.births.1));
    let births =
        (if spec.is_on_disk { 0 } else { body_birth }, if head.len > 0 { head_birth } else { 0 });
    assert_eq!(form.births(), births);
    assert_eq!(form.body(), (!spec.is_on_disk).then_some(body));
    assert_eq!(form.head(), (head.len > 0).then_some(head));
    assert_eq!((form.is_dense(), form.is_on_disk()), (spec.is_dense, spec.is_on_disk));
}

proptest! {
    #[test]
    fn written_site_is_read_again_unchanged(spec in site()) {
        let (finished, written) = write(&spec);
        let site = Site::open(View::of(&written.arena), written.offset).unwrap();
        written.check_site(&site);
        let former = Former::new(site).unwrap();
        written.check_former(&former);
        assert!(finished.is_same_as(&former));
        assert!(use_everything(&written.arena, written.offset));
    }

    #[test]
    fn damaged_image_gives_values_or_errors(
        spec in site(),
        damages in prop::collection::vec(damage(), 1..6),
        is_sealed in any::<bool>(),
    ) {
        let mut image = write(&spec).0.to_bytes();
        damages.iter().for_each(|damage| apply(&mut image, damage));
        if is_sealed {
            seal(&mut image);
        }
        use_everything(&image, 0);
    }
}

#[test]
fn index_takes_at_most_160_bytes_a_file() {
    let mut draft = Draft::default();
    let digest = ETag::from_digest(&[7; 16]);
    let stat = FileStat::default();
    for number in 0..100_000_u64 {
        let extent = Extent { offset: number * 4096, len: 4000 };
        let form =
            draft.form("text/css", 4000, Place::Memory(extent, 1), Some(digest), Some(1 << 30));
        let file = draft.file(form, &stat);
        draft.path(format!("/assets/styles/a-directory/{number:09}.css").as_bytes(), file);
    }
    let finished = draft.finish(About::default()).unwrap();
    assert!(finished.index_len() <= 160 * 100_000, "{} bytes", finished.index_len());
    let bytes = finished.to_bytes();
    let site = Site::open(View::of(&bytes), 0).unwrap();
    assert!(site.paths().all(|path| path.len() == 40 && site.lookup(path).is_some()));
}

#[test]
fn first_of_many_equal_paths_counts() {
    let mut draft = Draft::default();
    for number in 0..200 {
        let place = Place::Memory(Extent::default(), 1);
        let form = draft.form(MEDIA[0], 0, place, None, Some(number + 1));
        let file = draft.file(form, &FileStat::default());
        draft.path(b"/a", file);
    }
    let bytes = draft.finish(About::default()).unwrap().to_bytes();
    let site = Site::open(View::of(&bytes), 0).unwrap();
    let Some(Route::Asset(asset)) = site.lookup(b"/a") else { panic!("it is gone") };
    assert_eq!(asset.identity().validators().modified, Some(1));
}

#[test]
fn path_that_is_too_long_for_the_format_is_left_out() {
    let longest = vec![b'/'; u16::MAX as usize];
    let too_long = vec![b'/'; 1 << 16];
    let mut draft = Draft::default();
    draft.unreadable(&longest);
    draft.unreadable(&too_long);
    // The directory of an index that was left out is left out too.
    draft.directory_of_last(b"index.html");
    let bytes = draft.finish(About::default()).unwrap().to_bytes();
    let site = Site::open(View::of(&bytes), 0).unwrap();
    assert!(site.lookup(&longest).is_some());
    assert!(site.lookup(&too_long).is_none());
    assert_eq!(site.paths().count(), 1);
}

#[test]
fn each_of_a_million_paths_is_found() {
    let path = |number: u32| format!("/section-{:04}/file-{number:07}.html", number / 1000);
    let mut draft = Draft::with_files(1);
    (0..1_000_000).for_each(|number| draft.path(path(number).as_bytes(), 0));
    let image = draft.finish(About::default()).unwrap();
    let bytes = image.to_bytes();
    let site = Site::open(View::of(&bytes), 0).unwrap();
    assert!((0..1_000_000).all(|number| site.lookup(path(number).as_bytes()).is_some()));
    assert!(site.lookup(path(1_000_000).as_bytes()).is_none());
}

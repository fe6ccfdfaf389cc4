//! Bodies that name their path, generation and position in every block, and the check of a body
//! that was received.

/// Lengths of the files: around the page size, the limit of writev (64 KiB) and
/// `--memory-file-max` (1 MiB). The last file is on disk, all others are in memory.
pub const SIZES: [usize; 10] =
    [1, 4095, 4096, 4097, 65_535, 65_536, 65_537, 1_048_575, 1_048_576, 1_048_577];
/// The file of one byte, which is the generation modulo 256.
pub const ONE_BYTE: usize = 0;
/// The file that is larger than `--memory-file-max`.
pub const ON_DISK: usize = SIZES.len() - 1;

const BLOCK_LEN: usize = 64;
/// Where a block holds its number.
const NUMBER: std::ops::Range<usize> = 20..28;

/// What a body says of itself.
#[derive(Debug, PartialEq, Eq)]
pub enum Content {
    /// Every block is of this file and this generation.
    Whole(u64),
    /// The last byte of the generation: all that a file of one byte can say.
    LowByte(u8),
    /// The length is wrong, or a block is of another file, generation or position.
    Torn(String),
}

/// The name of a file.
pub fn name(file: usize) -> String {
    format!("p{file:04}")
}

/// The first block of a file: `/p0001 g0000000042 b00000000 ...`, 64 bytes with the line end.
fn first_block(file: usize, generation: u64) -> [u8; BLOCK_LEN] {
    let text = format!("/{} g{generation:010} b{:08} ", name(file), 0);
    let mut block = [b'.'; BLOCK_LEN];
    block[..text.len()].copy_from_slice(text.as_bytes());
    block[BLOCK_LEN - 1] = b'\n';
    block
}

/// Counts the number in a block up by one.
fn advance(block: &mut [u8; BLOCK_LEN]) {
    for digit in block[NUMBER].iter_mut().rev() {
        if *digit < b'9' {
            *digit += 1;
            return;
        }
        *digit = b'0';
    }
}

/// Returns the content of a file in a generation.
pub fn body(file: usize, generation: u64) -> Vec<u8> {
    let len = SIZES[file];
    if file == ONE_BYTE {
        return vec![low_byte(generation)];
    }
    let mut block = first_block(file, generation);
    let mut body = Vec::with_capacity(len + BLOCK_LEN);
    while body.len() < len {
        body.extend_from_slice(&block);
        advance(&mut block);
    }
    body.truncate(len);
    if let Some(last) = last_byte(len, generation) {
        body[len - 1] = last;
    }
    body
}

/// Returns the last byte of a body whose last block is cut: that block may be too short to name the
/// generation, and the only one of its page.
fn last_byte(len: usize, generation: u64) -> Option<u8> {
    (!len.is_multiple_of(BLOCK_LEN)).then(|| low_byte(generation))
}

pub fn low_byte(generation: u64) -> u8 {
    generation.to_le_bytes()[0]
}

/// Returns the generation of a body, or where it is torn.
pub fn check(file: usize, body: &[u8]) -> Content {
    if body.len() != SIZES[file] {
        return Content::Torn(format!("{} bytes instead of {}", body.len(), SIZES[file]));
    }
    if file == ONE_BYTE {
        return Content::LowByte(body[0]);
    }
    let digits = body.get(8..18).and_then(|digits| std::str::from_utf8(digits).ok());
    let Some(generation) = digits.and_then(|digits| digits.parse().ok()) else {
        return Content::Torn(describe(0, &body[..BLOCK_LEN]));
    };
    let mut expected = first_block(file, generation);
    let blocks = body.len().div_ceil(BLOCK_LEN);
    for (number, found) in body.chunks(BLOCK_LEN).enumerate() {
        if number == blocks - 1
            && let Some(last) = last_byte(body.len(), generation)
        {
            expected[found.len() - 1] = last;
        }
        if found != &expected[..found.len()] {
            let found = describe(number * BLOCK_LEN, found);
            return Content::Torn(format!("{found} in generation {generation}"));
        }
        advance(&mut expected);
    }
    Content::Whole(generation)
}

fn describe(offset: usize, block: &[u8]) -> String {
    format!("at byte {offset}: {}", block.escape_ascii())
}

#[test]
fn bodies_have_their_length_and_pass_the_check() {
    for (file, &size) in SIZES.iter().enumerate() {
        let body = body(file, 4_242);
        assert_eq!(body.len(), size);
        match check(file, &body) {
            Content::Whole(generation) => assert_eq!(generation, 4_242),
            content => assert_eq!((file, content), (ONE_BYTE, Content::LowByte(146))),
        }
    }
    assert!(body(1, 42).starts_with(b"/p0001 g0000000042 b00000000 ....."));
    assert_eq!(body(1, 42)[64..].iter().position(|&byte| byte == b'\n'), Some(63));
}

#[test]
fn check_finds_each_kind_of_torn_body() {
    let is_torn = |file: usize, body: &[u8]| matches!(check(file, body), Content::Torn(_));
    for (file, &len) in SIZES.iter().enumerate().skip(1) {
        let whole = body(file, 7);
        let (newer, other) = (body(file, 8), body(if file == 1 { 2 } else { file - 1 }, 7));
        for start in [0, BLOCK_LEN, len / 2, len - 1].map(|at| at / BLOCK_LEN * BLOCK_LEN) {
            let end = (start + BLOCK_LEN).min(len);
            let with = |bytes: &[u8]| {
                let mut body = whole.clone();
                body[start..end].copy_from_slice(&bytes[..end - start]);
                body
            };
            assert!(is_torn(file, &with(&newer[start..])), "of another generation: {start}");
            assert!(is_torn(file, &with(&[0; BLOCK_LEN])), "zeroed: {start}");
            if end - start == BLOCK_LEN {
                assert!(is_torn(file, &with(&other[..BLOCK_LEN])), "of another file: {start}");
                let shifted = &whole[if start == 0 { BLOCK_LEN } else { 0 }..];
                assert!(is_torn(file, &with(shifted)), "shifted: {start}");
            }
        }
        // A page that a hole zeroed, the second half of another generation, a wrong length.
        let half = [&whole[..len / 2], &newer[len / 2..]].concat();
        assert!(is_torn(file, &half) && is_torn(file, &whole[..len - 1]));
        assert!(is_torn(file, &[&whole[..], b"."].concat()));
    }
    assert!(is_torn(ONE_BYTE, b"") && is_torn(ONE_BYTE, b"12"));
}

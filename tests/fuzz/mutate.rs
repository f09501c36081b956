//! Mutations of an input, as a strategy whose failures shrink: fewer of them, and smaller ones.

use proptest::prelude::*;

/// Longest mutated input, bytes.
pub(super) const LONGEST: usize = 1 << 20;

/// What stands where a number stood.
const NUMBERS: [&str; 16] = [
    "0",
    "1",
    "-1",
    "255",
    "65535",
    "65536",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "18446744073709551615",
    "18446744073709551616",
    "1e308",
    "1e-300",
    "-0.5",
    "nan",
    "",
];
/// What readers of text look for.
const WORDS: [&str; 20] = [
    "\r\n", "\n", "\r\n\r\n", ",", "\"", "'", "{", "}", "[", "]", "=", ":", "${HOME}", "{client}", "%", "\u{0}", "\u{202e}", "ÿ", "ws://",
    "9h",
];

/// One change. Places are taken modulo the length.
#[derive(Clone, Debug)]
pub(super) enum Mutation {
    Flip(usize, u8),
    Set(usize, u8),
    Cut(usize, usize),
    Truncate(usize),
    Extend(Vec<u8>),
    Repeat(usize, usize, u8),
    Number(usize, usize),
    Word(usize, usize),
    Splice(usize, usize, usize),
}

/// Which seed, and what is done to it.
pub(super) fn mutations(seeds: usize) -> impl Strategy<Value = (usize, Vec<Mutation>)> {
    let place = || any::<u32>().prop_map(|place| place as usize);
    let mutation = prop_oneof![
        4 => (place(), 0..8_u8).prop_map(|(at, bit)| Mutation::Flip(at, bit)),
        3 => (place(), any::<u8>()).prop_map(|(at, byte)| Mutation::Set(at, byte)),
        2 => (place(), 1..64_usize).prop_map(|(at, count)| Mutation::Cut(at, count)),
        1 => place().prop_map(Mutation::Truncate),
        1 => prop::collection::vec(any::<u8>(), 1..64).prop_map(Mutation::Extend),
        1 => (place(), 1..64_usize, 1..40_u8).prop_map(|(at, count, times)| Mutation::Repeat(at, count, times)),
        4 => (place(), 0..NUMBERS.len()).prop_map(|(at, which)| Mutation::Number(at, which)),
        2 => (place(), 0..WORDS.len()).prop_map(|(at, which)| Mutation::Word(at, which)),
        1 => (0..seeds, place(), place()).prop_map(|(other, from, to)| Mutation::Splice(other, from, to)),
    ];
    (0..seeds, prop::collection::vec(mutation, 1..8))
}

/// The input that comes of it.
pub(super) fn mutated(seeds: &[Vec<u8>], which: usize, mutations: &[Mutation]) -> Vec<u8> {
    let mut bytes = seeds[which].clone();
    for mutation in mutations {
        apply(&mut bytes, seeds, mutation);
        bytes.truncate(LONGEST);
    }
    bytes
}

fn apply(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], mutation: &Mutation) {
    let length = bytes.len();
    let within = |at: usize| at % length.max(1);
    let range = |at: usize, count: usize| within(at)..(within(at) + count).min(length);
    match mutation {
        Mutation::Extend(more) => bytes.extend(more),
        Mutation::Word(at, which) => {
            let at = at % (length + 1);
            bytes.splice(at..at, WORDS[*which].bytes());
        }
        _ if length == 0 => {}
        Mutation::Flip(at, bit) => bytes[within(*at)] ^= 1 << bit,
        Mutation::Set(at, byte) => bytes[within(*at)] = *byte,
        Mutation::Cut(at, count) => drop(bytes.drain(range(*at, *count))),
        Mutation::Truncate(at) => bytes.truncate(within(*at)),
        Mutation::Repeat(at, count, times) => {
            let range = range(*at, *count);
            let more = bytes[range.clone()].repeat(usize::from(*times));
            bytes.splice(range.end..range.end, more);
        }
        Mutation::Number(at, which) => {
            // The next run of digits from there on.
            let Some(from) = (within(*at)..length).find(|at| bytes[*at].is_ascii_digit()) else { return };
            let to = (from..length).find(|at| !bytes[*at].is_ascii_digit()).unwrap_or(length);
            bytes.splice(from..to, NUMBERS[*which].bytes());
        }
        Mutation::Splice(other, from, to) => {
            let other = &seeds[*other];
            let from = from % (other.len() + 1);
            bytes.splice(within(*to).., other[from..].iter().copied());
        }
    }
}

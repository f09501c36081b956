//! Checked decoding of histograms in the V2 format of HdrHistogram: the decoder of the crate takes sizes from the bytes that it is given.
//!
//! Only what this program writes is read: three significant digits or fewer, from 1 up. Everything else is refused before memory is taken for it.

use super::greatest::MOST;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use std::io::Read;

/// First bytes of the plain and of the compressed form.
const PLAIN: [u8; 4] = [0x1c, 0x84, 0x93, 0x13];
const COMPRESSED: [u8; 4] = [0x1c, 0x84, 0x93, 0x14];
/// Bytes of the plain form before its counts: cookie, length, offset, digits, lowest, highest, ratio.
const HEAD: usize = 40;
/// Most bytes of the plain form. A histogram of ours with samples in all of its buckets has some 220,000.
const LONGEST: usize = 1 << 20;
/// Greatest value that a histogram may be made for: 104 days in µs.
const HIGHEST: u64 = 1 << 43;
/// Most values that are passed over at once.
const WIDEST: u64 = 1 << 24;

/// A histogram from its plain or compressed form; what follows it is not looked at. `None`: it is none, or none of ours.
pub(super) fn decode(bytes: &[u8]) -> Option<Histogram<u64>> {
    let inflated;
    let plain = match *bytes.first_chunk::<4>()? {
        PLAIN => bytes,
        COMPRESSED => {
            let mut plain = Vec::new();
            let inflate = flate2::read::ZlibDecoder::new(bytes.get(8..)?);
            inflate.take(LONGEST as u64).read_to_end(&mut plain).ok()?;
            inflated = plain;
            &inflated[..]
        }
        _ => return None,
    };
    let number = |at: usize| plain.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
    let long = |at: usize| plain.get(at..at + 8)?.try_into().ok().map(u64::from_be_bytes);
    let (length, digits, low, high) = (number(4)? as usize, number(12)?, long(16)?, long(24)?);
    let counts = plain.get(HEAD..)?.get(..length)?;
    let ours = plain.starts_with(&PLAIN) && length <= LONGEST && digits <= 3 && low == 1 && high <= HIGHEST;
    (ours && sound(counts)).then(|| Deserializer::new().deserialize(&mut &plain[..]).ok())?
}

/// Whether these are whole numbers, of which none is greater than it can be.
fn sound(mut counts: &[u8]) -> bool {
    let mut sum = 0_u64;
    while !counts.is_empty() {
        let Some((number, rest)) = varint(counts) else { return false };
        counts = rest;
        // Odd ones are negative, and pass over so many values.
        let size = (number >> 1) + (number & 1);
        if number & 1 == 1 {
            if size > WIDEST {
                return false;
            }
        } else {
            sum = sum.saturating_add(size);
        }
    }
    sum <= MOST
}

/// A number in LEB128 of at most nine bytes, the last of which is taken whole; and what follows.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0;
    for (place, byte) in bytes.iter().enumerate().take(9) {
        let (last, part) = if place == 8 { (true, *byte) } else { (byte & 0x80 == 0, byte & 0x7f) };
        number |= u64::from(part) << (7 * place);
        if last {
            return Some((number, &bytes[place + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use hdrhistogram::serialization::{Serializer as _, V2DeflateSerializer, V2Serializer};

    fn written(compressed: bool) -> Vec<u8> {
        let mut histogram = Histogram::<u64>::new_with_bounds(1, super::super::latency::HIGHEST_US, 3).unwrap();
        [1, 7, 7, 90_000, 3_000_000_000].into_iter().for_each(|us| histogram.record(us).unwrap());
        let mut bytes = Vec::new();
        match compressed {
            true => V2DeflateSerializer::new().serialize(&histogram, &mut bytes).unwrap(),
            false => V2Serializer::new().serialize(&histogram, &mut bytes).unwrap(),
        };
        bytes
    }

    #[test]
    fn what_was_written_is_read_and_a_size_is_believed_only_where_the_bytes_are_there() {
        for compressed in [false, true] {
            let bytes = written(compressed);
            assert_eq!(decode(&bytes).unwrap().len(), 5);
            (0..bytes.len()).for_each(|end| assert!(decode(&bytes[..end]).is_none(), "{end}"));
        }
        let plain = written(false);
        let with = |at: usize, new: &[u8]| {
            let mut bytes = plain.clone();
            bytes[at..at + new.len()].copy_from_slice(new);
            decode(&bytes)
        };
        assert!(with(4, &u32::MAX.to_be_bytes()).is_none(), "4 GiB of counts");
        assert!(with(12, &5_u32.to_be_bytes()).is_none(), "50 MB of buckets");
        assert!(with(24, &u64::MAX.to_be_bytes()).is_none());
        assert!(with(HEAD, &[0xff; 3]).is_none(), "the least number, which has no opposite");
    }

    #[test]
    fn a_small_file_does_not_become_a_large_one() {
        use std::io::Write as _;
        let mut bomb = Vec::from(COMPRESSED);
        bomb.extend(0_u32.to_be_bytes());
        let mut deflate = flate2::write::ZlibEncoder::new(bomb, flate2::Compression::best());
        deflate.write_all(&PLAIN).unwrap();
        (0..256).for_each(|_| deflate.write_all(&[0; 1 << 20]).unwrap());
        assert!(decode(&deflate.finish().unwrap()).is_none());
    }
}

//! The greatest whole number in a value, whatever its type: so that sums of what was read from a file stay within 64 bits.

use serde::ser::{self, Serialize};
use std::fmt;

/// Greatest number that results may have: as many µs are 203 days, as many bytes 17 TB.
pub(super) const MOST: u64 = 1 << 44;
/// Fields that may have any number. Nobody adds them up, or whoever does expects them to be great: seeds; the sum of all samples of a
/// distribution; what servers ask clients to wait for; times that a scenario sets, which may be 584 years.
const ANY: [&str; 11] = [
    "seed",
    "sum_us",
    "retry_after_s",
    "retry_after",
    "late_after_us",
    "every_ms",
    "timeout_ms",
    "earliest_ms",
    "latest_ms",
    "within_us",
    "reconnect_within_us",
];

/// Whether no whole number in it is greater than [`MOST`], but for the fields of [`ANY`].
pub(crate) fn is_bounded(value: &impl Serialize) -> bool {
    value.serialize(&mut Bounded).is_ok()
}

/// There is a greater one.
#[derive(Debug)]
struct TooGreat;

impl fmt::Display for TooGreat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number is too great")
    }
}

impl std::error::Error for TooGreat {}

impl ser::Error for TooGreat {
    fn custom<T: fmt::Display>(_: T) -> TooGreat {
        TooGreat
    }
}

struct Bounded;

type Checked = Result<(), TooGreat>;

/// Methods that look at nothing.
macro_rules! pass {
    ($($name:ident($kind:ty)),*) => { $(fn $name(self, _: $kind) -> Checked { Ok(()) })* };
}

impl ser::Serializer for &mut Bounded {
    type Ok = ();
    type Error = TooGreat;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    pass!(serialize_bool(bool), serialize_i8(i8), serialize_i16(i16), serialize_i32(i32), serialize_i64(i64), serialize_u8(u8));
    pass!(serialize_u16(u16), serialize_u32(u32), serialize_f32(f32), serialize_f64(f64), serialize_char(char), serialize_str(&str));
    pass!(serialize_bytes(&[u8]), serialize_unit_struct(&'static str));

    fn serialize_u64(self, number: u64) -> Checked {
        if number > MOST { Err(TooGreat) } else { Ok(()) }
    }

    fn serialize_none(self) -> Checked {
        Ok(())
    }

    fn serialize_unit(self) -> Checked {
        Ok(())
    }

    fn serialize_some<T: ?Sized + Serialize>(self, value: &T) -> Checked {
        value.serialize(self)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Checked {
        Ok(())
    }

    fn serialize_newtype_struct<T: ?Sized + Serialize>(self, _: &'static str, value: &T) -> Checked {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: ?Sized + Serialize>(self, _: &'static str, _: u32, _: &'static str, value: &T) -> Checked {
        value.serialize(self)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self, TooGreat> {
        Ok(self)
    }

    fn serialize_tuple(self, _: usize) -> Result<Self, TooGreat> {
        Ok(self)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self, TooGreat> {
        Ok(self)
    }

    fn serialize_tuple_variant(self, _: &'static str, _: u32, _: &'static str, _: usize) -> Result<Self, TooGreat> {
        Ok(self)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self, TooGreat> {
        Ok(self)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, TooGreat> {
        Ok(self)
    }

    fn serialize_struct_variant(self, _: &'static str, _: u32, _: &'static str, _: usize) -> Result<Self, TooGreat> {
        Ok(self)
    }
}

/// What is made of parts: each is looked at, in any order.
macro_rules! compound {
    ($($kind:ident $(, $key:ident)?: $name:ident());*) => { $(
        impl ser::$kind for &mut Bounded {
            type Ok = ();
            type Error = TooGreat;

            $(fn $key<T: ?Sized + Serialize>(&mut self, key: &T) -> Checked {
                key.serialize(&mut **self)
            })?

            fn $name<T: ?Sized + Serialize>(&mut self, value: &T) -> Checked {
                value.serialize(&mut **self)
            }

            fn end(self) -> Checked {
                Ok(())
            }
        }
    )* };
}

compound!(
    SerializeSeq: serialize_element();
    SerializeTuple: serialize_element();
    SerializeTupleStruct: serialize_field();
    SerializeTupleVariant: serialize_field();
    SerializeMap, serialize_key: serialize_value()
);

/// What has names for its parts.
macro_rules! named {
    ($($kind:ident),*) => { $(
        impl ser::$kind for &mut Bounded {
            type Ok = ();
            type Error = TooGreat;

            fn serialize_field<T: ?Sized + Serialize>(&mut self, key: &'static str, value: &T) -> Checked {
                if ANY.contains(&key) { Ok(()) } else { value.serialize(&mut **self) }
            }

            fn end(self) -> Checked {
                Ok(())
            }
        }
    )* };
}

named!(SerializeStruct, SerializeStructVariant);

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn numbers_are_found_wherever_they_stand() {
        let nested = |n: u64| BTreeMap::from([((1_u16, Some(3_u32)), vec![(0_u64, Some(Ok::<_, ()>(n)))])]);
        assert!(is_bounded(&nested(MOST)));
        assert!(!is_bounded(&nested(MOST + 1)));
        assert!(!is_bounded(&BTreeMap::from([(MOST + 1, "x")])));
        assert!(is_bounded(&("text", f64::MAX, u32::MAX)));
        #[derive(serde::Serialize)]
        struct Run {
            seed: u64,
            clients: u64,
        }
        assert!(is_bounded(&Run { seed: u64::MAX, clients: MOST }));
        assert!(!is_bounded(&Run { seed: 1, clients: MOST + 1 }));
        #[derive(serde::Serialize)]
        enum Of {
            Run { retry_after: std::time::Duration, clients: u64 },
        }
        let retry_after = std::time::Duration::from_secs(u64::MAX);
        assert!(is_bounded(&Of::Run { retry_after, clients: MOST }));
        assert!(!is_bounded(&Of::Run { retry_after, clients: MOST + 1 }));
    }
}

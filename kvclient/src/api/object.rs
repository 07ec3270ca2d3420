//! Reads requests from JSON objects with known fields, and from nothing else.

use serde::de::{MapAccess, Visitor};
use serde::{Deserializer, forward_to_deserialize_any};
use std::fmt;

/// Lets a struct be read only from an object.
///
/// serde's derived code also takes an array, as the fields in their order. Such a request is unreadable, and changes
/// its meaning when a field is added.
pub(super) struct ObjectOnly<T>(pub(super) T);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for ObjectOnly<D> {
    type Error = D::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_struct(name, fields, ObjectOnly(visitor))
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(ObjectOnly(visitor))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for ObjectOnly<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(fields)
    }
}

/// Lets a request be read from an object with these fields and no others.
///
/// Byte strings are named first, each with the names of its two fields. They come as `Option<Vec<u8>>`, and a block
/// builds the request, or returns a sentence that says what is wrong.
macro_rules! read_from_object {
    (
        $request:ident, $expecting:literal,
        bytes { $($text:ident / $base64:ident),* },
        { $($(#[$attribute:meta])* $field:ident: $type:ty),* },
        $build:block
    ) => {
        impl<'de> serde::Deserialize<'de> for $request {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                #[derive(serde::Deserialize)]
                #[serde(deny_unknown_fields, expecting = $expecting)]
                struct Wire {
                    $(#[serde(default)] $text: Option<String>, #[serde(default)] $base64: Option<String>,)*
                    $($(#[$attribute])* $field: $type),*
                }
                fn build(wire: Wire) -> Result<$request, String> {
                    let Wire { $($text, $base64,)* $($field),* } = wire;
                    $(
                        let names = $crate::api::byte_field::ByteField {
                            text: stringify!($text),
                            base64: stringify!($base64),
                        };
                        let $text = names.decode($text, $base64)?;
                    )*
                    $build
                }
                let wire = <Wire as serde::Deserialize>::deserialize($crate::api::object::ObjectOnly(from))?;
                build(wire).map_err(serde::de::Error::custom)
            }
        }
    };
    ($request:ident, $expecting:literal, { $($(#[$attribute:meta])* $field:ident: $type:ty),+ }) => {
        impl<'de> serde::Deserialize<'de> for $request {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                #[derive(serde::Deserialize)]
                #[serde(deny_unknown_fields, expecting = $expecting)]
                struct Wire {
                    $($(#[$attribute])* $field: $type),+
                }
                let wire = <Wire as serde::Deserialize>::deserialize($crate::api::object::ObjectOnly(from))?;
                let Wire { $($field),+ } = wire;
                Ok(Self { $($field),+ })
            }
        }
    };
}

pub(super) use read_from_object;

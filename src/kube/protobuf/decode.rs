//! From `k8s\0` and a `runtime.Unknown` to the object as JSON.
//!
//! Field numbers the table does not have are passed over, as Kubernetes does: a client may be newer.
//! Zeros are left out where Kubernetes' JSON would leave them out. Bounded in depth and in values; the
//! caller bounds the bytes.

use base64::Engine;
use orc_base::{Context, Error, Result};
use serde_json::{Map, Value};

use crate::protobuf::scalar;
use crate::protobuf::schema::{Field, Message, Shape, Type, message};
use crate::protobuf::wire::{Fields, Raw};

/// What a body in this encoding begins with.
const MAGIC: &[u8] = b"k8s\0";
/// Messages inside messages, at most. The deepest that Kubernetes has are below 20.
const MAX_DEPTH: usize = 40;
/// Values of one object, at most: a value may cost two bytes on the wire and a hundred in memory.
const MAX_VALUES: usize = 300_000;

/// The object of a request body. `Invalid` when the bytes are not this encoding or too much at once,
/// `Unsupported` for a type that is not in the table.
pub fn object(body: &[u8]) -> Result<Value> {
    let unknown = body.strip_prefix(MAGIC).ok_or_else(|| {
        Error::invalid("the body does not begin with `k8s` and a zero byte, as protobuf does")
    })?;
    let Envelope {
        api_version,
        kind,
        raw,
    } = envelope(unknown)?;
    let name = name_of(&api_version, &kind);
    let found = message(&name).ok_or_else(|| {
        Error::unsupported(format!(
            "no protobuf message is known for {api_version:?}, kind {kind:?}: send JSON"
        ))
    })?;
    let mut object = Map::new();
    object.insert("apiVersion".to_owned(), api_version.into());
    object.insert("kind".to_owned(), kind.clone().into());
    let mut decoder = Decoder {
        values: 0,
        depth: 0,
    };
    decoder
        .fill(&mut object, found, raw)
        .context(|| kind.clone())?;
    Ok(Value::Object(object))
}

struct Envelope<'b> {
    api_version: String,
    kind: String,
    raw: &'b [u8],
}

/// `runtime.Unknown`: the type in field 1, the message in field 2, encodings in 3 and 4.
fn envelope(bytes: &[u8]) -> Result<Envelope<'_>> {
    let mut envelope = Envelope {
        api_version: String::new(),
        kind: String::new(),
        raw: &[],
    };
    let mut fields = Fields::of(bytes);
    while let Some(field) = fields.next()? {
        match field {
            (1, Raw::Bytes(meta)) => {
                let mut meta = Fields::of(meta);
                while let Some(field) = meta.next()? {
                    match field {
                        (1, Raw::Bytes(text)) => envelope.api_version = scalar::utf8(text)?,
                        (2, Raw::Bytes(text)) => envelope.kind = scalar::utf8(text)?,
                        _ => {}
                    }
                }
            }
            (2, Raw::Bytes(raw)) => envelope.raw = raw,
            (3, Raw::Bytes(encoding)) if !encoding.is_empty() => {
                return Err(Error::unsupported("protobuf: the message is encoded again"));
            }
            _ => {}
        }
    }
    Ok(envelope)
}

/// `apps/v1` and `Deployment` are `apps.v1.Deployment`; groups go by their first word.
fn name_of(api_version: &str, kind: &str) -> String {
    // Every group has its own name for the one DeleteOptions.
    if kind == "DeleteOptions" {
        return "meta.v1.DeleteOptions".to_owned();
    }
    let (group, version) = api_version.split_once('/').unwrap_or(("core", api_version));
    let group = group.split('.').next().unwrap_or_default();
    format!("{group}.{version}.{kind}")
}

struct Decoder {
    values: usize,
    depth: usize,
}

impl Decoder {
    fn fill(
        &mut self,
        object: &mut Map<String, Value>,
        message: &Message,
        bytes: &[u8],
    ) -> Result<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Error::invalid(format!(
                "protobuf: more than {MAX_DEPTH} messages inside each other"
            )));
        }
        let mut fields = Fields::of(bytes);
        while let Some((number, raw)) = fields.next()? {
            if let Some(field) = message.fields.get(&number) {
                self.field(object, field, raw)
                    .context(|| field.name.unwrap_or("inline"))?;
            }
        }
        self.depth -= 1;
        Ok(())
    }

    fn field(
        &mut self,
        object: &mut Map<String, Value>,
        field: &Field,
        raw: Raw<'_>,
    ) -> Result<()> {
        let Some(name) = field.name else {
            return match (field.value, raw) {
                (Type::Message(inner), Raw::Bytes(bytes)) => self.fill(object, known(inner), bytes),
                _ => Err(mismatch()),
            };
        };
        match field.shape {
            Shape::One => {
                if let Some(value) = self.value(field.value, raw)?
                    && (field.pointer || !is_zero(&value))
                {
                    object.insert(name.to_owned(), value);
                }
            }
            Shape::List => {
                let list = object.entry(name).or_insert_with(|| Value::Array(vec![]));
                let Value::Array(list) = list else {
                    return Err(mismatch());
                };
                self.items(list, field.value, raw)?;
            }
            Shape::Map => {
                let map = object.entry(name).or_insert_with(|| Map::new().into());
                let Value::Object(map) = map else {
                    return Err(mismatch());
                };
                let (key, value) = self.entry(field.value, raw)?;
                map.insert(key, value);
            }
        }
        Ok(())
    }

    fn items(&mut self, list: &mut Vec<Value>, typ: Type, raw: Raw<'_>) -> Result<()> {
        // Numbers may stand behind each other in one field.
        if let (Type::Integer | Type::Boolean, Raw::Bytes(packed)) = (typ, raw) {
            let mut packed = Fields::of(packed);
            while !packed.is_empty() {
                let number = Raw::Varint(packed.varint()?);
                list.extend(self.value(typ, number)?);
            }
            return Ok(());
        }
        list.extend(self.value(typ, raw)?);
        Ok(())
    }

    /// A map is a list of messages with a key and a value.
    fn entry(&mut self, typ: Type, raw: Raw<'_>) -> Result<(String, Value)> {
        let Raw::Bytes(bytes) = raw else {
            return Err(mismatch());
        };
        let (mut key, mut value) = (String::new(), None);
        let mut fields = Fields::of(bytes);
        while let Some((number, raw)) = fields.next()? {
            match (number, raw) {
                (1, Raw::Bytes(text)) => key = scalar::utf8(text)?,
                (2, raw) => value = self.value(typ, raw)?,
                _ => {}
            }
        }
        let value = match value {
            Some(value) => value,
            None => self.value(typ, Raw::Bytes(&[]))?.unwrap_or_default(),
        };
        Ok((key, value))
    }

    /// Nothing for a time that is not set.
    fn value(&mut self, typ: Type, raw: Raw<'_>) -> Result<Option<Value>> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(Error::invalid(format!(
                "protobuf: more than {MAX_VALUES} values"
            )));
        }
        let value = match (typ, raw) {
            (Type::Integer, Raw::Varint(value)) => scalar::integer(value).into(),
            (Type::Boolean, Raw::Varint(value)) => (value != 0).into(),
            (Type::Fraction, Raw::Fixed64(bits)) => f64::from_bits(bits).into(),
            (Type::Text, Raw::Bytes(bytes)) => scalar::utf8(bytes)?.into(),
            (Type::Bytes, Raw::Bytes(bytes)) => base64::engine::general_purpose::STANDARD
                .encode(bytes)
                .into(),
            (Type::Time, Raw::Bytes(bytes)) => return Ok(scalar::time(bytes)?.map(Value::from)),
            (Type::MicroTime, Raw::Bytes(bytes)) => {
                return Ok(scalar::micro_time(bytes)?.map(Value::from));
            }
            (Type::Quantity, Raw::Bytes(bytes)) => scalar::quantity(bytes)?.into(),
            (Type::IntOrString, Raw::Bytes(bytes)) => scalar::int_or_string(bytes)?,
            (Type::Raw, Raw::Bytes(bytes)) => scalar::raw(bytes)?,
            (Type::Duration, Raw::Bytes(bytes)) => scalar::duration(bytes)?.into(),
            (Type::Texts, Raw::Bytes(bytes)) => scalar::texts(bytes)?,
            (Type::Message(inner), Raw::Bytes(bytes)) => {
                let mut object = Map::new();
                self.fill(&mut object, known(inner), bytes)?;
                object.into()
            }
            _ => return Err(mismatch()),
        };
        Ok(Some(value))
    }
}

fn known(name: &str) -> &'static Message {
    message(name).expect("a test looks at every name of the table")
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(value) => value.as_i64() == Some(0),
        Value::String(value) => value.is_empty(),
        _ => false,
    }
}

fn mismatch() -> Error {
    Error::invalid("protobuf: the field has another type on the wire than in Kubernetes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(number: u8, content: &[u8]) -> Vec<u8> {
        let mut length = content.len();
        let mut field = vec![number << 3 | 2];
        while length >= 0x80 {
            field.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        field.push(length as u8);
        field.extend(content);
        field
    }

    fn body(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
        let meta = [bytes(1, api_version.as_bytes()), bytes(2, kind.as_bytes())].concat();
        [MAGIC, &bytes(1, &meta), &bytes(2, raw)].concat()
    }

    /// What kubectl 1.32 sent, byte by byte, and what it meant.
    #[test]
    fn reads_what_kubectl_sends() {
        for (captured, expected) in [
            (
                // create deployment web --image=busybox:1 --replicas=0 --port=80
                include_str!("testdata/deployment.hex"),
                r#"{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"labels":{"app":"web"},"name":"web"},"spec":{"replicas":0,"selector":{"matchLabels":{"app":"web"}},"strategy":{},"template":{"metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"image":"busybox:1","name":"busybox","ports":[{"containerPort":80}],"resources":{}}]}}},"status":{}}"#,
            ),
            (
                // create secret generic s --from-literal=key=value
                include_str!("testdata/secret.hex"),
                r#"{"apiVersion":"v1","data":{"key":"dmFsdWU="},"kind":"Secret","metadata":{"name":"s"}}"#,
            ),
            (
                // create token default --duration=20m
                include_str!("testdata/token_request.hex"),
                r#"{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","metadata":{},"spec":{"expirationSeconds":1200},"status":{}}"#,
            ),
        ] {
            let bytes: Vec<u8> = captured
                .split_whitespace()
                .map(|byte| u8::from_str_radix(byte, 16).unwrap())
                .collect();
            assert_eq!(object(&bytes).unwrap().to_string(), expected);
        }
    }

    #[test]
    fn keeps_meant_zeros_and_drops_the_others() {
        // spec: replicas (pointer) 0, minReadySeconds 0, paused false
        let spec = [0x08, 0, 0x28, 0, 0x38, 0];
        let object = object(&body("apps/v1", "Deployment", &bytes(2, &spec))).unwrap();
        let expected = r#"{"apiVersion":"apps/v1","kind":"Deployment","spec":{"replicas":0}}"#;
        assert_eq!(object.to_string(), expected);
    }

    #[test]
    fn puts_inline_messages_into_their_parent() {
        let empty_dir = bytes(2, &bytes(2, &[]));
        let volume = [bytes(1, b"v"), empty_dir].concat();
        let pod = bytes(2, &bytes(1, &volume));
        let object = object(&body("v1", "Pod", &pod)).unwrap();
        let volumes = object["spec"]["volumes"].to_string();
        assert_eq!(volumes, r#"[{"emptyDir":{},"name":"v"}]"#);
    }

    #[test]
    fn reads_maps_of_bytes() {
        let entry = [bytes(1, b"key"), bytes(2, b"value")].concat();
        let secret = [bytes(2, &entry), bytes(3, b"Opaque")].concat();
        let object = object(&body("v1", "Secret", &secret)).unwrap();
        assert_eq!(object["data"]["key"], "dmFsdWU=");
        assert_eq!(object["type"], "Opaque");
    }

    #[test]
    fn refuses_bombs() {
        let mut deep = bytes(1, b"x");
        // requiredDuringScheduling… has no way to nest; `raw` JSON and messages do, up to a limit.
        for _ in 0..200 {
            deep = bytes(2, &deep);
        }
        assert!(object(&body("v1", "Pod", &deep)).is_err());
        let many = bytes(1, &[]).repeat(400_000); // empty volumes
        let error = object(&body("v1", "Pod", &bytes(2, &many))).unwrap_err();
        assert_eq!(
            error.to_string(),
            "Pod: spec: volumes: protobuf: more than 300000 values"
        );
    }

    #[test]
    fn names_what_it_does_not_know() {
        let error = object(&body("example.com/v1", "Thing", &[])).unwrap_err();
        assert_eq!(error.kind(), orc_base::Kind::Unsupported);
        assert!(object(b"{}").is_err());
        let error = object(&body("v1", "Pod", &[0x10, 1])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "Pod: spec: protobuf: the field has another type on the wire than in Kubernetes"
        );
    }

    proptest::proptest! {
        #[test]
        fn never_panics(
            kind in proptest::sample::select(vec!["Pod", "Secret", "Node", "Event", "Service"]),
            raw in proptest::collection::vec(proptest::num::u8::ANY, 0..300),
        ) {
            let _ = object(&body("v1", kind, &raw));
            let _ = object(&[MAGIC, &raw].concat());
        }
    }
}

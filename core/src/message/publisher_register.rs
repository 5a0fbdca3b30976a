//! A client publishes its addresses, or takes them back.
//!
//! Fields on the wire: the 14 of [`BaseRegister`], `dataList`, `attributes`. A Node client has the last two the other way
//! round and names the list's type. `dataList` is null when the event type is `UNREGISTER`.

use super::base_register::{with_base, write_no_attributes};
use super::fields::{begin_message, read_fields};
use super::{BaseRegister, Boxes, EventType, MessageError, boxes};
use crate::hessian::{Definition, Writer, definition, definition_len};

/// Name of the class.
pub const CLASS: &str = "com.alipay.sofa.registry.core.model.PublisherRegister";

const FIELDS: [&str; 16] = with_base(&[], &["dataList"]);
const DEFINITION: [u8; definition_len(CLASS, &FIELDS)] = definition(CLASS, &FIELDS);

/// What the Java client sends, all versions of it.
static EXPECTED: [Definition; 2] = [
    Definition::new(&DEFINITION, CLASS, &FIELDS),
    boxes::EXPECTED,
];

/// A registration of a publisher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublisherRegister<'a> {
    /// Who publishes what.
    pub base: BaseRegister<'a>,
    /// The published texts.
    pub boxes: Boxes,
}

impl<'a> PublisherRegister<'a> {
    /// What a message without any field is.
    pub fn empty() -> Self {
        Self {
            base: BaseRegister::empty(),
            boxes: Boxes::default(),
        }
    }

    /// Reads the content of a frame.
    pub fn decode(content: &'a [u8]) -> Result<Self, MessageError> {
        let mut register = Self::empty();
        register.read(content)?;
        Ok(register)
    }

    /// Reads the content of a frame into what was empty: a decoded one is 250 bytes, which are as dear to move as to read.
    pub fn read(&mut self, content: &'a [u8]) -> Result<(), MessageError> {
        let (class, mut reader) = begin_message(content, CLASS, &EXPECTED)?;
        if class.is_expected() {
            self.base.read_fields(&mut reader)?;
            self.boxes = Boxes::read(&mut reader, content)?;
            return Ok(reader.skip()?);
        }
        read_fields(class, &mut reader, |name, reader| {
            if name == b"dataList" {
                self.boxes = Boxes::read(reader, content)?;
                return Ok(true);
            }
            self.base.read_field(name, reader)
        })
    }

    /// Appends the content as the Java client writes it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out);
        writer.raw(&DEFINITION);
        writer.object(0);
        self.base.write_fields(&mut writer);
        if self.base.event_type == EventType::Unregister {
            writer.null();
        } else {
            boxes::write_list(out, std::iter::once(&self.boxes), &mut false);
        }
        write_no_attributes(&mut Writer::new(out));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sent by the Java client 5.4.2: two boxes.
    const REPUBLISH: &[u8] =
        b"O\xc85com.alipay.sofa.registry.core.model.PublisherRegister\xa0\x0ainstanceId\x04zone\
        \x07appName\x06dataId\x05group\x09processId\x08registId\x08clientId\x0adataInfoId\x02ip\
        \x04port\x09eventType\x07version\x09timestamp\x08dataList\x0aattributeso\x90N\x0cDEFAULT\
        _ZONE\x08demo-app\x18com.demo.Svc:1.0@DEFAULT\x0dDEFAULT_GROUPNS\x00$6ed653d2-e57c-4947-\
        a14d-f8d1319bf4d4NNNN\x08REGISTER\xe2L\x00\x00\x01\xa2\x01\x92\xf1VVn\x02O\xbbcom.alipay\
        .sofa.registry.core.model.DataBox\x91\x04datao\x91\x0e10.0.0.1:12200o\x91\x0e10.0.0.2:12\
        200zMz";

    /// Sent by the Java client 5.4.2.
    const UNPUBLISH: &[u8] =
        b"O\xc85com.alipay.sofa.registry.core.model.PublisherRegister\xa0\x0ainstanceId\x04zone\
        \x07appName\x06dataId\x05group\x09processId\x08registId\x08clientId\x0adataInfoId\x02ip\
        \x04port\x09eventType\x07version\x09timestamp\x08dataList\x0aattributeso\x90N\x0cDEFAULT\
        _ZONE\x08demo-app\x18com.demo.Svc:1.0@DEFAULT\x0dDEFAULT_GROUPNS\x00$6ed653d2-e57c-4947-\
        a14d-f8d1319bf4d4NNNN\x0aUNREGISTER\xe3L\x00\x00\x01\xa2\x01\x92\xf1VNMz";

    /// Sent by the Node client: another order, another type of list.
    const NODE: &[u8] =
        b"O\xc85com.alipay.sofa.registry.core.model.PublisherRegister\xa0\x0ainstanceId\x04zone\
        \x07appName\x06dataId\x05group\x09processId\x08registId\x08clientId\x0adataInfoId\x02ip\
        \x04port\x09eventType\x07version\x09timestamp\x0aattributes\x08dataListo\x90N\x0cDEFAULT\
        _ZONE\x08node-app\x1ccom.demo.NodeSvc:1.0@DEFAULT\x04SOFANS\x00$c2b50535-9087-4e87-90be-\
        3e10fedd2cf9NNNN\x08REGISTER\xe1L\x00\x00\x01\xa2\x01\x95\x1feNVt\x00\x0ejava.util.Listn\
        \x01O\xbbcom.alipay.sofa.registry.core.model.DataBox\x91\x04datao\x91\x0e1.1.1.1:80?a=bz";

    fn base() -> BaseRegister<'static> {
        BaseRegister {
            zone: Some("DEFAULT_ZONE".into()),
            app_name: Some("demo-app".into()),
            data_id: Some("com.demo.Svc:1.0@DEFAULT".into()),
            group: Some("DEFAULT_GROUP".into()),
            regist_id: Some("6ed653d2-e57c-4947-a14d-f8d1319bf4d4".into()),
            version: Some(2),
            timestamp: Some(1_795_322_736_982),
            ..BaseRegister::default()
        }
    }

    fn encoded(message: &PublisherRegister<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        message.encode(&mut out);
        out
    }

    fn republish() -> PublisherRegister<'static> {
        let boxes = ["10.0.0.1:12200", "10.0.0.2:12200"].into_iter().collect();
        PublisherRegister {
            base: base(),
            boxes,
        }
    }

    fn unpublish() -> PublisherRegister<'static> {
        let base = BaseRegister {
            event_type: EventType::Unregister,
            version: Some(3),
            ..base()
        };
        PublisherRegister {
            base,
            boxes: Boxes::default(),
        }
    }

    #[test]
    fn round_trip() {
        assert_eq!(PublisherRegister::decode(REPUBLISH).unwrap(), republish());
        assert_eq!(PublisherRegister::decode(UNPUBLISH).unwrap(), unpublish());
    }

    #[test]
    fn golden_bytes() {
        assert_eq!(encoded(&republish()), REPUBLISH);
        assert_eq!(encoded(&unpublish()), UNPUBLISH);
    }

    #[test]
    fn fields_by_name_are_those_in_order() {
        let renamed = |message: &[u8]| {
            let mut message = message.to_vec();
            let place = message.windows(6).position(|name| name == b"\x04port\x09");
            message[place.expect("a field of no use") + 1] = b'P';
            message
        };

        for message in [REPUBLISH, UNPUBLISH] {
            assert_eq!(
                PublisherRegister::decode(&renamed(message)),
                PublisherRegister::decode(message)
            );
        }
    }

    #[test]
    fn fields_are_found_by_name_in_any_order() {
        let register = PublisherRegister::decode(NODE).unwrap();

        assert_eq!(register.base.group.as_deref(), Some("SOFA"));
        assert_eq!(register.base.timestamp, Some(1_795_322_879_845));
        assert_eq!(register.boxes, ["1.1.1.1:80?a=b"].into_iter().collect());
    }

    #[test]
    fn a_missing_event_type_is_no_registration() {
        let body = b"O\xc85com.alipay.sofa.registry.core.model.PublisherRegister\x90o\x90";

        let register = PublisherRegister::decode(body).unwrap();

        assert_eq!(register.base.event_type, EventType::Other("null".into()));
    }

    #[test]
    fn every_truncation_is_an_error() {
        for len in 0..REPUBLISH.len() {
            assert!(
                PublisherRegister::decode(&REPUBLISH[..len]).is_err(),
                "{len}"
            );
        }
    }
}

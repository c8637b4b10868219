use causeway_wire::records::{BatchBuilder, Codec};

use super::*;

/// A record with this value; its time is its offset.
fn placed(offset: i64, value: &str) -> Placed {
    let record = Record { value: Some(value.to_owned().into()), ..Record::default() };
    Placed { offset: SourceOffset(offset), timestamp: offset, record }
}

/// Records as they landed: target offset, source time, value.
fn tail(from: i64, landed: &[(i64, i64, &str)]) -> Tail {
    let mut tail = Tail::new(TargetOffset(from));
    for (offset, time, value) in landed {
        let mut builder = BatchBuilder::new(Codec::None).base_offset(*offset);
        builder.push(*time, None, Some(value.as_bytes()), &[]).unwrap();
        let bytes = builder.build().unwrap();
        assert!(tail.push(&BatchView::parse(&bytes).unwrap()).unwrap());
    }
    tail
}

fn run(source: i64, count: u64, target: i64) -> Run {
    Run::new(SourceOffset(source), count, TargetOffset(target))
}

#[test]
fn f24_what_landed_is_not_written_again_and_what_did_not_is() {
    let mut tail = tail(100, &[(100, 0, "a"), (101, 1, "b")]);
    let mut batch = vec![placed(0, "a"), placed(1, "b"), placed(2, "c")];
    assert_eq!(tail.take(&mut batch), [run(0, 2, 100)]);
    assert_eq!(batch, [placed(2, "c")]);
    assert!(tail.is_empty());
}

#[test]
fn times_that_the_target_set_tell_nothing() {
    let mut tail = Tail::new(TargetOffset(0));
    let mut builder = BatchBuilder::new(Codec::None).log_append_time(99_999);
    builder.push(0, None, Some(b"a"), &[]).unwrap();
    tail.push(&BatchView::parse(&builder.build().unwrap()).unwrap()).unwrap();
    let mut batch = vec![placed(7, "a")];
    assert_eq!(tail.take(&mut batch), [run(7, 1, 0)]);
}

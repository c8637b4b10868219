//! Range: for each topic, members in order get neighbouring partitions.

use std::collections::BTreeMap;

use causeway_wire::Uuid;

use super::MemberSpec;

pub(super) fn assign(members: &[MemberSpec], counts: &BTreeMap<Uuid, i32>) -> Vec<Vec<(Uuid, i32)>> {
    let mut out = vec![Vec::new(); members.len()];
    // Static members first, by instance id: their ranges stay where they are over restarts.
    let mut order: Vec<usize> = (0..members.len()).collect();
    order.sort_by_key(|i| {
        let m = &members[*i];
        (m.instance_id.is_none(), m.instance_id.clone().unwrap_or_else(|| m.id.clone()))
    });
    for (topic, count) in counts {
        let wanting: Vec<usize> = order.iter().copied().filter(|i| members[*i].topics.contains(topic)).collect();
        let (count, readers) = (*count as usize, wanting.len());
        if readers == 0 {
            continue;
        }
        let mut next = 0;
        for (place, member) in wanting.into_iter().enumerate() {
            let share = count / readers + usize::from(place < count % readers);
            out[member].extend((next..next + share).map(|p| (*topic, p as i32)));
            next += share;
        }
    }
    out
}

//! Times requests and makes clients wait who use more than their quota.

use std::pin::pin;
use std::time::{Duration, Instant};

use causeway_wire::Message;

use super::Context;

/// Runs a future and says how long it kept a thread busy; waiting is free.
pub(super) async fn timed<T>(future: impl Future<Output = T>) -> (T, Duration) {
    let mut busy = Duration::ZERO;
    let mut future = pin!(future);
    let out = std::future::poll_fn(|cx| {
        let began = Instant::now();
        let polled = future.as_mut().poll(cx);
        busy += began.elapsed();
        polled
    });
    (out.await, busy)
}

/// Charges a client for the time its request took, tells it the longest wait it was given and leaves its connection unread
/// for so long (KIP-219: the answer goes out at once).
pub(super) fn charge<M: Message>(context: &Context, busy: Duration, response: &mut M) {
    let image = context.node.meta.image();
    let wait = context.node.quotas.record_time(&image, context.client_id(), busy);
    mute(context, wait);
    let Some(told) = response.throttle_time_ms() else { return };
    let wait = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
    *told = (*told).max(wait);
}

/// Leaves a connection unread for a while; the number to put into the answer.
pub(super) fn mute(context: &Context, wait: Duration) -> i32 {
    if !wait.is_zero() {
        context.peer.mute(wait);
    }
    i32::try_from(wait.as_millis()).unwrap_or(i32::MAX)
}

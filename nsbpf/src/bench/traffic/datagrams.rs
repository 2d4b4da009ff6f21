//! Many datagrams with one call: `sendmmsg(2)` and `recvmmsg(2)`.

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd as _;

/// Datagrams of a call at most.
pub(super) const BATCH: usize = 64;

/// Memory for a call: as many datagrams, of one length.
pub(super) struct Datagrams {
    buffers: Vec<Vec<u8>>,
}

impl Datagrams {
    /// For datagrams of so many bytes.
    pub(super) fn new(bytes: usize) -> Self {
        Self { buffers: vec![vec![0; bytes]; BATCH] }
    }

    /// Each, to be looked at or written.
    pub(super) fn each(&mut self) -> impl Iterator<Item = &mut Vec<u8>> {
        self.buffers.iter_mut()
    }

    /// Sends all of them. Returns how many the kernel took.
    pub(super) fn send(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        self.call(|messages, count| {
            // SAFETY: there are as many messages, whose buffers are alive.
            unsafe { libc::sendmmsg(socket.as_raw_fd(), messages, count, 0) }
        })
        .map(|(count, _)| count)
    }

    /// Takes what is there, without waiting. Returns the length of each; the first that
    /// many buffers are theirs.
    pub(super) fn receive(&mut self, socket: &UdpSocket) -> io::Result<Vec<usize>> {
        let received = self.call(|messages, count| {
            let (flags, forever) = (libc::MSG_DONTWAIT, std::ptr::null_mut());
            // SAFETY: there are as many messages, whose buffers are alive and ours alone.
            unsafe { libc::recvmmsg(socket.as_raw_fd(), messages, count, flags, forever) }
        });
        match received {
            Ok((count, mut lengths)) => {
                lengths.truncate(count);
                Ok(lengths)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    fn call(
        &mut self,
        call: impl FnOnce(*mut libc::mmsghdr, libc::c_uint) -> libc::c_int,
    ) -> io::Result<(usize, Vec<usize>)> {
        let parts = |buffer: &mut Vec<u8>| libc::iovec {
            iov_base: buffer.as_mut_ptr().cast(),
            iov_len: buffer.len(),
        };
        let mut parts: Vec<libc::iovec> = self.buffers.iter_mut().map(parts).collect();
        let message = |part: &mut libc::iovec| {
            // SAFETY: integers and pointers, for which 0 is a value.
            let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
            message.msg_hdr.msg_iov = part;
            message.msg_hdr.msg_iovlen = 1;
            message
        };
        let mut messages: Vec<libc::mmsghdr> = parts.iter_mut().map(message).collect();
        let count = libc::c_uint::try_from(messages.len()).unwrap_or_default();
        let done = call(messages.as_mut_ptr(), count);
        let done = usize::try_from(done).map_err(|_| io::Error::last_os_error())?;
        Ok((done, messages.iter().map(|message| message.msg_len as usize).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_arrives() {
        let [near, far] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
        near.connect(far.local_addr().unwrap()).unwrap();
        let (mut out, mut back) = (Datagrams::new(100), Datagrams::new(101));
        assert_eq!(back.receive(&far).unwrap(), Vec::<usize>::new());
        for (number, buffer) in (0..).zip(out.each()) {
            buffer.fill(number);
        }
        assert_eq!(out.send(&near).unwrap(), BATCH);
        assert_eq!(back.receive(&far).unwrap(), vec![100; BATCH]);
        for (number, buffer) in (0..).zip(back.each()) {
            assert_eq!(buffer[..100], [number; 100]);
        }
    }
}

"""One end of some connections, as programs make them with the kernel's sockets: talk.py WHAT SIDE
OWN PEER. Side 0 is who opens connections, side 1 who is there first."""

import socket
import struct
import sys
import time

what, side, own, peer = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
family = socket.AF_INET6 if ":" in own else socket.AF_INET
SIZE = 300_000


def new(kind=socket.SOCK_STREAM):
    made = socket.socket(family, kind)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.settimeout(60)
    return made


def listen(port, buffer=None):
    server = new()
    if buffer:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    server.bind((own, port))
    server.listen(16)
    print("ready", flush=True)
    return server.accept()[0]


def connect(port, source=0):
    client = new()
    client.bind((own, source))
    client.connect((peer, port))
    return client


def read(end, count):
    left = count
    while left:
        data = end.recv(min(left, 65536))
        if not data:
            raise EOFError(count - left)
        left -= len(data)


def bulk():
    end = connect(5001) if side == 0 else listen(5001)
    for turn in (0, 1):
        if turn == side:
            end.sendall(b"x" * SIZE)
        else:
            read(end, SIZE)
    if side == 0:
        end.shutdown(socket.SHUT_WR)
        assert end.recv(1) == b""
    else:
        assert end.recv(1) == b""
        end.close()


def window():
    """The receiver's window is shut until the sender has probed it."""
    if side == 1:
        end = listen(5002, 4096)
        time.sleep(2)
        read(end, 100_000)
        assert end.recv(1) == b""
    else:
        end = connect(5002)
        end.sendall(b"y" * 100_000)
        end.close()


def keepalive():
    end = connect(5003) if side == 0 else listen(5003)
    if side == 0:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
        time.sleep(3)
        end.sendall(b"z")
        end.close()
    else:
        read(end, 1)
        assert end.recv(1) == b""


def reset():
    """A connection cut off in its middle, and one that nobody takes."""
    if side == 1:
        end = listen(5004)
        end.sendall(b"a" * 1000)
        read(end, 10)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        end.close()
        return
    end = connect(5004)
    read(end, 1000)
    end.sendall(b"b" * 10)
    try:
        assert end.recv(1) == b""
    except ConnectionResetError:
        pass
    try:
        connect(5999)
        raise AssertionError("somebody is there")
    except ConnectionRefusedError:
        pass


def simultaneous():
    """Both sides connect to each other at one moment until their SYNs cross, each time by other
    ports: a SYN back on ports that were just refused would be no part of a connection."""
    print("ready", flush=True)
    for _ in range(200):
        turn = int(time.time() * 5) + 1
        time.sleep(max(0, turn / 5 - time.time() - 0.002))
        while time.time() * 5 < turn:
            pass
        first = 6000 + turn % 1000 * 2
        end = new()
        end.bind((own, first + side))
        end.settimeout(2)
        try:
            end.connect((peer, first + 1 - side))
        except (ConnectionRefusedError, ConnectionResetError, TimeoutError):
            end.close()
            continue
        end.settimeout(60)
        end.sendall(b"c")
        read(end, 1)
        end.close()
        return
    raise AssertionError("never met")


def again():
    """The same ports over and over: the connection before is in TIME-WAIT."""
    if side == 1:
        server = new()
        server.bind((own, 5005))
        server.listen(16)
        print("ready", flush=True)
        for _ in range(5):
            end = server.accept()[0]
            # Who closes first is in TIME-WAIT: this side, which takes a SYN all the same.
            end.sendall(b"d")
            end.close()
        return
    source = 7005
    for _ in range(5):
        try:
            end = connect(5005, source)
        except OSError:
            # Their FINs crossed, and this side is in TIME-WAIT.
            source += 1
            end = connect(5005, source)
        read(end, 1)
        assert end.recv(1) == b""
        end.close()


def datagrams():
    """UDP with answers, larger than a frame too, and to a port where nobody is."""
    end = new(socket.SOCK_DGRAM)
    end.bind((own, 5006 + side))
    if side == 1:
        print("ready", flush=True)
        while True:
            data, sender = end.recvfrom(65536)
            end.sendto(data, sender)
            if data == b"end":
                return
    end.settimeout(0.3)
    for data in [b"e", b"f" * 4000, b"end"]:
        for _ in range(50):
            end.sendto(data, (peer, 5007))
            try:
                while end.recv(65536) != data:
                    pass
                break
            except (TimeoutError, ConnectionRefusedError):
                if data == b"end":
                    return
    refused = new(socket.SOCK_DGRAM)
    refused.connect((peer, 5998))
    refused.settimeout(0.3)
    for _ in range(10):
        try:
            refused.send(b"g")
            refused.recv(1)
        except TimeoutError:
            continue
        except ConnectionRefusedError:
            return


globals()[what]()

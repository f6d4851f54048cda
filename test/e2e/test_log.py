"""Log lines while much is said: none is lost, and they stand in the order in which they were said."""

import re
import socket
import threading

import valija


def test_a_crowd_of_lines_is_whole_and_in_order(suite):
    before, times = len(suite.log()), 200

    def knock():
        for _ in range(times):
            with socket.create_connection((suite.host, suite.port("imap"))) as one:
                one.recv(100)
                one.sendall(b"a LOGOUT\r\n")
                while one.recv(1000):
                    pass

    threads = [threading.Thread(target=knock) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()

    def lines():
        return [line for line in suite.log()[before:].splitlines() if "imap-login[" in line]

    def count(word):
        return sum(f": {word} " in line for line in lines())

    valija.wait_until(lambda: count("disconnect") == 4 * times, what="the last line")
    assert count("connect") == 4 * times
    assert "log-lines-dropped" not in suite.log()[before:] and "lines-lost-before" not in suite.log()[before:]
    said = [line[:27] for line in lines()]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", at) for at in said)
    # A speaker that loses its processor between the kernel's note and the channel is late, and nobody knows.
    assert sum(a > b for a, b in zip(said, said[1:])) <= len(said) / 100

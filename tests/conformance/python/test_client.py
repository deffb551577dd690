"""The protocol's own client for Python, unmodified, against a running hub (HUB_URL)."""

import os
import threading
import unittest
import uuid

from durable_streams import DurableStream, stream

HUB = os.environ["HUB_URL"]


def fresh(what):
    return f"{HUB}/v1/stream/python/{what}-{uuid.uuid4()}"


class Client(unittest.TestCase):
    def test_creates_appends_and_reads(self):
        with DurableStream.create(fresh("append"), content_type="application/json") as handle:
            for i in range(20):
                handle.append({"i": i})
            with stream(handle.url, live=False) as response:
                self.assertEqual(response.read_json(), [{"i": i} for i in range(20)])

    def test_bytes_are_kept(self):
        data = bytes(range(256))
        with DurableStream.create(fresh("bytes"), content_type="application/octet-stream") as handle:
            handle.append(data)
            with stream(handle.url, live=False) as response:
                self.assertEqual(response.read_bytes(), data)

    def test_follows_by_long_poll(self):
        self.follow("long-poll")

    def test_follows_by_sse(self):
        self.follow("sse")

    def follow(self, live):
        with DurableStream.create(fresh(live), content_type="application/json") as handle:
            handle.append(0)

            def publish():
                with DurableStream.connect(handle.url) as publisher:
                    for i in range(1, 50):
                        publisher.append(i)

            seen = []
            with stream(handle.url, offset="-1", live=live) as response:
                publisher = threading.Thread(target=publish)
                publisher.start()
                for item in response.iter_json():
                    seen.append(item)
                    if len(seen) == 50:
                        break
                publisher.join()
            self.assertEqual(seen, list(range(50)))

    def test_describes_and_deletes(self):
        with DurableStream.create(fresh("delete"), content_type="text/plain") as handle:
            handle.append("x")
            self.assertTrue(handle.head().offset)
            handle.delete()


if __name__ == "__main__":
    unittest.main()

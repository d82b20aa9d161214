"""Streams downloads of lines into one Parquet file with zstd: pyarrow_parquet.py OUT LOG_ID URL...

What pyarrow does well, as fast as it goes: blocks of 32 MiB are received in a thread of their own, lines are found by numpy, a column of
texts is made of them at once, and what is the same in all rows is a dictionary of one value. A row group is one block. The columns are those
that Sluice fills.
"""

import datetime
import http.client
import os
import queue
import sys
import threading
import urllib.parse

import numpy
import pyarrow
import pyarrow.parquet

BLOCK = 32 << 20


def receive(urls, blocks):
    """Puts blocks of whole lines into a queue, then None; or the error."""
    try:
        for url in urls:
            parts = urllib.parse.urlsplit(url)
            connection = http.client.HTTPConnection(parts.hostname, parts.port)
            connection.request("GET", parts.path + "?" + parts.query, headers={"x-api-key": os.environ["BENCH_API_KEY"]})
            response = connection.getresponse()
            if response.status != 200:
                raise RuntimeError(f"status {response.status}")
            rest = b""
            while True:
                block = bytearray(BLOCK)
                block[: len(rest)] = rest
                filled = len(rest)
                view = memoryview(block)
                while filled < BLOCK and (n := response.readinto(view[filled:])):
                    filled += n
                end = block.rfind(b"\n", 0, filled) + 1
                if filled < BLOCK:
                    end = filled
                rest = bytes(view[end:filled])
                if end:
                    blocks.put((block, end))
                if filled < BLOCK:
                    break
            connection.close()
        blocks.put(None)
    except Exception as error:
        blocks.put(error)


def texts(block, end):
    """Returns the lines as a column, without their line feeds."""
    data = numpy.frombuffer(block, numpy.uint8, end)
    feeds = numpy.flatnonzero(data == 10)
    if len(feeds) == 0 or feeds[-1] != end - 1:
        feeds = numpy.append(feeds, end)
    # A column's texts lie one behind the other, so the line feeds have to go.
    offsets = numpy.zeros(len(feeds) + 1, numpy.int32)
    offsets[1:] = feeds - numpy.arange(len(feeds))
    return pyarrow.StringArray.from_buffers(len(feeds), pyarrow.py_buffer(offsets), pyarrow.py_buffer(data[data != 10]))


def constant(value, rows):
    return pyarrow.DictionaryArray.from_arrays(pyarrow.array(numpy.zeros(rows, numpy.int32)), pyarrow.array([value]))


def main():
    out, log_id, urls = sys.argv[1], sys.argv[2], sys.argv[3:]
    blocks = queue.Queue(2)
    threading.Thread(target=receive, args=(urls, blocks), daemon=True).start()
    now = datetime.datetime.now(datetime.timezone.utc)
    constants = {"observed_timestamp": now, "received_from": now, "received_to": now, "source": "bench", "log_id": log_id}
    columns = {name: constant(value, 0) for name, value in constants.items()} | {"body": pyarrow.array([], pyarrow.string())}
    schema = pyarrow.table(columns).schema
    with pyarrow.parquet.ParquetWriter(out, schema, compression="zstd", compression_level=1, use_dictionary=list(constants)) as writer:
        while (item := blocks.get()) is not None:
            if isinstance(item, Exception):
                raise item
            body = texts(*item)
            columns = {name: constant(value, len(body)) for name, value in constants.items()} | {"body": body}
            writer.write_table(pyarrow.table(columns, schema))


main()

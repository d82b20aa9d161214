error: athena reads Amazon S3, and this sink writes elsewhere: an object sink with url s3://BUCKET/PREFIX is what it can read

// Reads all objects by the ways that the AWS SDK for Go has: GetObject, the deprecated download manager, the transfer manager.
package main

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/feature/s3/manager"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

func must[Value any](value Value, err error) Value {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return value
}

func print(value map[string]any) {
	fmt.Println(string(must(json.Marshal(value))))
}

func main() {
	ctx := context.Background()
	var keys []string
	must(0, json.Unmarshal([]byte(os.Getenv("KEYS")), &keys))
	bucket := aws.String(os.Getenv("BUCKET"))
	client := s3.NewFromConfig(must(config.LoadDefaultConfig(ctx)), func(o *s3.Options) {
		o.BaseEndpoint = aws.String(os.Getenv("ENDPOINT"))
		o.UsePathStyle = true
	})
	transfers := transfermanager.New(client)
	downloader := manager.NewDownloader(client)
	for _, key := range keys {
		name := aws.String(key)
		whole := must(io.ReadAll(must(client.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: name})).Body))
		streamed := must(io.ReadAll(must(transfers.GetObject(ctx, &transfermanager.GetObjectInput{Bucket: bucket, Key: name})).Body))
		parts := manager.NewWriteAtBuffer(nil)
		must(transfers.DownloadObject(ctx, &transfermanager.DownloadObjectInput{Bucket: bucket, Key: name, WriterAt: parts}))
		ranges := manager.NewWriteAtBuffer(nil)
		if len(whole) > 0 {
			must(downloader.Download(ctx, ranges, &s3.GetObjectInput{Bucket: bucket, Key: name}))
		}
		for way, read := range map[string][]byte{"GetObject": streamed, "DownloadObject": parts.Bytes(), "Downloader": ranges.Bytes()} {
			if !bytes.Equal(read, whole) {
				must(0, fmt.Errorf("%s reads %d bytes of %s, not %d", way, len(read), key, len(whole)))
			}
		}
		sum := md5.Sum(whole)
		print(map[string]any{"key": key, "size": len(whole), "md5": hex.EncodeToString(sum[:])})
	}
	listed := []string{}
	for pages := s3.NewListObjectsV2Paginator(client, &s3.ListObjectsV2Input{Bucket: bucket, MaxKeys: aws.Int32(2)}); pages.HasMorePages(); {
		for _, object := range must(pages.NextPage(ctx)).Contents {
			listed = append(listed, *object.Key)
		}
	}
	print(map[string]any{"listed": listed})
}

// Writes files by the transfer manager of the AWS SDK for Go, large ones in parallel parts, reads each back, and deletes objects.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

const partBytes = 5 << 20

func must[Value any](value Value, err error) Value {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return value
}

func list(name string) []string {
	var values []string
	must(0, json.Unmarshal([]byte(os.Getenv(name)), &values))
	return values
}

func main() {
	ctx := context.Background()
	bucket := aws.String(os.Getenv("BUCKET"))
	client := s3.NewFromConfig(must(config.LoadDefaultConfig(ctx)), func(o *s3.Options) {
		o.BaseEndpoint = aws.String(os.Getenv("ENDPOINT"))
		o.UsePathStyle = true
	})
	transfers := transfermanager.New(client, func(o *transfermanager.Options) {
		o.PartSizeBytes = partBytes
		o.MultipartUploadThreshold = partBytes
	})
	for _, file := range list("FILES") {
		key := aws.String(os.Getenv("PREFIX") + "/" + file)
		content := must(os.ReadFile(os.Getenv("SOURCE") + "/" + file))
		must(transfers.UploadObject(ctx, &transfermanager.UploadObjectInput{Bucket: bucket, Key: key, Body: bytes.NewReader(content)}))
		read := must(io.ReadAll(must(client.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: key})).Body))
		if !bytes.Equal(read, content) {
			must(0, fmt.Errorf("%s is read otherwise than it was written", *key))
		}
	}
	deleted := []types.ObjectIdentifier{}
	for _, key := range list("DELETED") {
		deleted = append(deleted, types.ObjectIdentifier{Key: aws.String(key)})
	}
	answer := must(client.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: bucket, Delete: &types.Delete{Objects: deleted}}))
	if len(answer.Errors) > 0 {
		must(0, fmt.Errorf("not deleted: %v", answer.Errors))
	}
}

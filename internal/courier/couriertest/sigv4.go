package couriertest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
)

// AmazonSigned checks a signature of version 4, by the key AKID and its secret pa:ss for a region and service, by the steps of its documentation.
func AmazonSigned(r *http.Request, body []byte, scope string) error {
	part := regexp.MustCompile(`^AWS4-HMAC-SHA256 Credential=AKID/(\d{8}/` + regexp.QuoteMeta(scope) + `/aws4_request), SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})$`).
		FindStringSubmatch(r.Header.Get("Authorization"))
	if part == nil {
		return fmt.Errorf("authorization %q", r.Header.Get("Authorization"))
	}
	canonical := r.Method + "\n" + r.URL.EscapedPath() + "\n\n"
	for name := range strings.SplitSeq(part[2], ";") {
		value := r.Header.Get(name)
		switch name {
		case "host":
			value = r.Host
		case "content-length":
			value = fmt.Sprint(r.ContentLength)
		}
		canonical += name + ":" + value + "\n"
	}
	sum := sha256.Sum256(body)
	canonical += "\n" + part[2] + "\n" + hex.EncodeToString(sum[:])
	sum = sha256.Sum256([]byte(canonical))
	text := "AWS4-HMAC-SHA256\n" + r.Header.Get("X-Amz-Date") + "\n" + part[1] + "\n" + hex.EncodeToString(sum[:])
	key := []byte("AWS4pa:ss")
	for step := range strings.SplitSeq(part[1]+"/", "/") {
		if step != "" {
			key = mac(key, step)
		}
	}
	if hex.EncodeToString(mac(key, text)) != part[3] || !strings.Contains(part[2], "host") || !strings.HasPrefix(r.Header.Get("X-Amz-Date"), part[1][:8]) {
		return errors.New("the signature does not fit")
	}
	return nil
}

func mac(key []byte, text string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}

package bounce_test

import (
	"strings"
	"testing"

	"countersign/internal/courier"
	"countersign/internal/courier/bounce"
)

const (
	letter = "0196f0c1-7a50-7c55-9e2f-3f0e7b6d1a10"
	id     = letter + "@example.org"
)

// notification is one as RFC 3464 has them, with a change.
func notification(old, new string) string {
	text := strings.ReplaceAll(`Date: Thu, 7 Jul 1994 17:16:05 -0400
From: Mail Delivery Subsystem <MAILER-DAEMON@CS.UTK.EDU>
To: <no-reply@example.org>
In-Reply-To: <0196f0c1-7a50-7c55-9e2f-3f0e7b6d1a11@example.org>
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
      boundary="RAA14128.773615765/CS.UTK.EDU"

--RAA14128.773615765/CS.UTK.EDU

The original message was received at Thu, 7 Jul 1994 17:15:49 -0400

--RAA14128.773615765/CS.UTK.EDU
content-type: message/delivery-status

Reporting-MTA: dns; cs.utk.edu

Original-Recipient: rfc822;ada@elsewhere.example
Final-Recipient: rfc822;ada@elsewhere.example
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 <ada@elsewhere.example> unknown
Action-Notes: 482913

--RAA14128.773615765/CS.UTK.EDU
Content-Type: text/rfc822-headers

Received: from [127.0.0.1]
Message-ID: <`+id+`>
Subject: Your code

--RAA14128.773615765/CS.UTK.EDU--
`, "\n", "\r\n")
	old, new = strings.ReplaceAll(old, "\n", "\r\n"), strings.ReplaceAll(new, "\n", "\r\n")
	if old != "" && !strings.Contains(text, old) {
		panic("the notification has not " + old)
	}
	return strings.Replace(text, old, new, 1)
}

func TestNotificationsAreRead(t *testing.T) {
	const head = "Content-Type: text/rfc822-headers\n\nReceived: from [127.0.0.1]\nMessage-ID: <" + id + ">\nSubject: Your code\n"
	for name, c := range map[string]struct {
		old, new string
		want     courier.Report
	}{
		"failed":        {"", "", courier.Report{State: courier.NotDelivered, Code: "5.1.1"}},
		"delayed":       {"Action: failed\nStatus: 5.1.1", "Action: Delayed\nStatus: 4.4.1 (no answer)", courier.Report{State: courier.Underway, Code: "4.4.1"}},
		"delivered":     {"Action: failed\nStatus: 5.1.1", "Status: 2.0.0\nAction: delivered", courier.Report{State: courier.Delivered, Code: "2.0.0"}},
		"relayed":       {"Action: failed\nStatus: 5.1.1", "Action: relayed\nStatus: 2.0.0", courier.Report{State: courier.Underway, Code: "2.0.0"}},
		"without words": {"Status: 5.1.1", "Status: see ada@elsewhere.example", courier.Report{State: courier.NotDelivered}},
		"whole letter":  {head, "Content-Type: message/rfc822\n\nMessage-ID: <" + id + ">\nSubject: Your code\n\n482913\n", courier.Report{State: courier.NotDelivered, Code: "5.1.1"}},
		"in base64":     {head, "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nTWVzc2FnZS1JRDogPDAxOTZmMGMxLTdhNTAtN2M1NS05ZTJmLTNmMGU3YjZkMWExMEBleGFt\ncGxlLm9yZz4NCg0KaGkNCg==\n", courier.Report{State: courier.NotDelivered, Code: "5.1.1"}},
		"beyond ASCII":  {"content-type: message/delivery-status", "content-type: message/global-delivery-status", courier.Report{State: courier.NotDelivered, Code: "5.1.1"}},
		"broken off":    {"Subject: Your code\n\n--RAA14128.773615765/CS.UTK.EDU--\n", "", courier.Report{State: courier.NotDelivered, Code: "5.1.1"}},
	} {
		got, err := bounce.Parse(strings.NewReader(notification(c.old, c.new)))
		c.want.Provider, c.want.Letter = "smtp", letter
		if err != nil || got != c.want {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, c.want)
		}
	}
	// Servers that return nothing of the letter say in the head which it was.
	got, err := bounce.Parse(strings.NewReader(notification(head, "Content-Type: text/plain\n\nSee above.\n")))
	if err != nil || got.Letter != "0196f0c1-7a50-7c55-9e2f-3f0e7b6d1a11" {
		t.Errorf("nothing returned: %+v, %v", got, err)
	}
}

// What is sent to the address by anybody, or is broken, says nothing of any letter.
func TestOtherMailIsNone(t *testing.T) {
	const answers = "In-Reply-To: <0196f0c1-7a50-7c55-9e2f-3f0e7b6d1a11@example.org>\r\n"
	for name, text := range map[string]string{
		"nothing":         "",
		"no mail":         "\x00\x01\x02",
		"a person's":      "Subject: hello\r\nContent-Type: text/plain\r\n\r\nMessage-ID: <" + id + ">\r\nAction: failed\r\n",
		"an absence note": "Subject: away\r\nAuto-Submitted: auto-replied\r\nIn-Reply-To: <" + id + ">\r\n\r\nback on Monday\r\n",
		"a read receipt":  notification("delivery-status;", "disposition-notification;"),
		"no boundary":     notification("boundary=", "bound="),
		"no status":       notification("content-type: message/delivery-status", "content-type: text/plain"),
		"no action":       notification("Action: failed", "Acton: failed"),
		"an odd action":   notification("Action: failed", "Action: eaten"),
		"no letter":       strings.Replace(notification("Message-ID: <"+id+">\n", ""), answers, "", 1),
		"an odd letter":   strings.Replace(notification("<"+id+">", "<"+id+"> <x@example.org>"), answers, "", 1),
	} {
		if got, err := bounce.Parse(strings.NewReader(text)); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
	many := strings.Repeat("--RAA14128.773615765/CS.UTK.EDU\n\n\n", 20)
	if got, err := bounce.Parse(strings.NewReader(notification("\n--RAA14128.773615765/CS.UTK.EDU\ncontent-type", "\n"+many+"--RAA14128.773615765/CS.UTK.EDU\ncontent-type"))); err == nil {
		t.Errorf("after many parts: %+v", got)
	}
	far := strings.Repeat("x", 300<<10)
	if got, err := bounce.Parse(strings.NewReader(notification("The original", far+"\nThe original"))); err == nil {
		t.Errorf("after much text: %+v", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(notification("", ""))
	f.Add(notification("content-type: message/delivery-status", "content-type: message/delivery-status\nContent-Transfer-Encoding: base64"))
	f.Fuzz(func(t *testing.T, text string) {
		got, err := bounce.Parse(strings.NewReader(text))
		if err == nil && (got.Letter == "" || got.State == "" || strings.ContainsAny(got.Code, "@ \r\n")) {
			t.Errorf("%+v", got)
		}
	})
}

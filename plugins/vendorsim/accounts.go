package vendorsim

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"strings"
)

// Owner is the account whose users only its owner may see: requests are signed with Key, which must never travel.
type Owner struct {
	Account string // the account's ID; "": there is no such account
	Name    string
	KeyID   string
	Key     string
	Users   []User
}

// User is one user of an account.
type User struct {
	ID        string `json:"id"`
	Email     string `json:"email"`
	FirstName string `json:"first_name"`
	LastName  string `json:"last_name"`
	LoginName string `json:"login_name"`
}

const accountsPath = "/management/accounts/"

// signedByOwner checks a request as the vendor does and answers it if it goes no further.
func (c *call) signedByOwner() bool {
	owner := c.sim.opts.Owner
	h := c.r.Header
	for _, values := range h {
		if owner.Key != "" && strings.Contains(strings.Join(values, " "), owner.Key) {
			c.sim.journal.leak()
		}
	}
	body, err := io.ReadAll(io.LimitReader(c.r.Body, 1<<20))
	if err != nil {
		c.sim.fail(c.w, c.x, http.StatusBadRequest, "the body was cut")
		return false
	}
	sum := sha256.Sum256(body)
	mac := hmac.New(sha1.New, []byte(owner.Key))
	// Just what the vendor documents: nothing between the parts, the path without slashes at its ends and without a query.
	_, _ = io.WriteString(mac, c.r.Method+h.Get("Content-Type")+h.Get("Date")+strings.TrimPrefix(c.r.URL.Path, "/")+
		base64.StdEncoding.EncodeToString(sum[:]))
	want := owner.KeyID + ":" + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	_, dated := http.ParseTime(h.Get("Date"))
	if owner.Account == "" || dated != nil || strings.HasSuffix(c.r.URL.Path, "/") ||
		!hmac.Equal([]byte(want), []byte(h.Get("Authorization-Api-Key"))) {
		c.sim.fail(c.w, c.x, http.StatusForbidden, "Forbidden")
		return false
	}
	return true
}

// accounts answers GET /management/accounts/{id}[/users].
func (c *call) accounts() {
	owner := c.sim.opts.Owner
	id, rest, _ := strings.Cut(strings.TrimPrefix(c.path, accountsPath), "/")
	switch {
	case c.r.Method != http.MethodGet:
		c.sim.fail(c.w, c.x, http.StatusMethodNotAllowed, "HTTP 405 Method Not Allowed")
	case !strings.EqualFold(id, owner.Account):
		c.sim.fail(c.w, c.x, http.StatusNotFound, "HTTP 404 Not Found")
	case rest == "":
		c.json(http.StatusOK, map[string]any{"account": map[string]any{"id": owner.Account, "name": owner.Name}})
	case rest == "users":
		users := owner.Users
		if users == nil {
			users = []User{}
		}
		c.json(http.StatusOK, map[string]any{"users": users})
	default:
		c.sim.fail(c.w, c.x, http.StatusNotFound, "HTTP 404 Not Found")
	}
}

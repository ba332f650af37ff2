package keys

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waybill-network/waybill/kernels/bls"
)

var password = []byte("correct horse")

func TestPublishedVectors(t *testing.T) {
	const want = "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"
	for _, file := range []string{"eip2335-scrypt.json", "eip2335-pbkdf2.json"} {
		t.Run(file, func(t *testing.T) {
			b, err := os.ReadFile(filepath.Join("testdata", file))
			if err != nil {
				t.Fatal(err)
			}
			ks, err := parse(b)
			if err != nil {
				t.Fatal(err)
			}
			secret, err := ks.decrypt([]byte("𝔱𝔢𝔰𝔱𝔭𝔞𝔰𝔰𝔴𝔬𝔯𝔡🔑"))
			if err != nil {
				t.Fatal(err)
			}
			if got := hex.EncodeToString(secret); got != want {
				t.Errorf("secret %s, want %s", got, want)
			}
			// A foreign keystore is recognised as such instead of being taken for one of ours.
			file := filepath.Join(t.TempDir(), "k.json")
			if err := os.WriteFile(file, b, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := LoadBLS(file, password); !errors.Is(err, ErrKind) {
				t.Errorf("LoadBLS: %v, want ErrKind", err)
			}
		})
	}
}

// TestDerivationVectors holds the test cases 0 to 3 of EIP-2333.
func TestDerivationVectors(t *testing.T) {
	for _, v := range []struct{ seed, master, index, child string }{
		{
			"c55257c360c07c72029aebc1b53c05ed0362ada38ead3e3e9efa3708e53495531f09a6987599d182" +
				"64c1e1c92f2cf141630c7a3c4ab7c81b2f001698e7463b04",
			"6083874454709270928345386274498605044986640685124978867557563392430687146096", "0",
			"20397789859736650942317412262472558107875392172444076792671091975210932703118"},
		{"3141592653589793238462643383279502884197169399375105820974944592",
			"29757020647961307431480504535336562678282505419141012933316116377660817309383",
			"3141592653",
			"25457201688850691947727629385191704516744796114925897962676248250929345014287"},
		{"0x0099FF991111002299DD7744EE3355BBDD8844115566CC55663355668888CC00",
			"27580842291869792442942448775674722299803720648445448686099262467207037398656",
			"4294967295",
			"29358610794459428860402234341874281240803786294062035874021252734817515685787"},
		{"d4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3",
			"19022158461524446591288038168518313374041767046816487870552872741050760015818", "42",
			"31372231650479070279774297061823572166496564838472787488249775572789064611981"},
	} {
		seed, err := ParseSeed(v.seed)
		if err != nil {
			t.Fatal(err)
		}
		for path, want := range map[string]string{"m": v.master, "m/" + v.index: v.child} {
			sk, err := Derive(seed, path)
			if err != nil {
				t.Fatal(err)
			}
			if b := sk.Bytes(); new(big.Int).SetBytes(b[:]).String() != want {
				t.Errorf("%s of %s… = %x, want %s", path, v.seed[:8], b, want)
			}
		}
	}
}

func TestDeriveMany(t *testing.T) {
	seed := bytes.Repeat([]byte{7}, 32)
	many, err := DeriveMany(seed, Clients, 1<<32-2, 2)
	if err != nil {
		t.Fatal(err)
	}
	for i, sk := range many {
		one, err := Derive(seed, Clients.Path(1<<32-2+uint32(i)))
		if err != nil {
			t.Fatal(err)
		}
		if one.Bytes() != sk.Bytes() {
			t.Errorf("key %d differs from the one derived alone", i)
		}
	}
	if _, err := DeriveMany(seed, Clients, 1<<32-2, 3); !errors.Is(err, ErrSeed) {
		t.Errorf("past the last index: %v, want ErrSeed", err)
	}
	for _, path := range []string{"", "x/1", "m/", "m/-1", "m/01", "m/4294967296", "m/1'", "/m"} {
		if _, err := Derive(seed, path); !errors.Is(err, ErrSeed) {
			t.Errorf("path %q: %v, want ErrSeed", path, err)
		}
	}
	for _, s := range []string{"", "zz", strings.Repeat("ab", 31)} {
		if _, err := ParseSeed(s); !errors.Is(err, ErrSeed) {
			t.Errorf("seed %q: %v, want ErrSeed", s, err)
		}
	}
}

func TestCreateLoad(t *testing.T) {
	dir := t.TempDir()
	sk, err := Derive(NewSeed(), Nodes.Path(3))
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	blsFile, edFile := filepath.Join(dir, "a", "node.json"),
		filepath.Join(dir, "a", "transport.json")
	if err := CreateBLS(blsFile, sk, password,
		Template{Role: "node", Path: Nodes.Path(3), KDF: PBKDF2}); err != nil {
		t.Fatal(err)
	}
	if err := CreateEd25519(edFile, ed, password, Template{Role: "transport"}); err != nil {
		t.Fatal(err)
	}

	gotBLS, err := LoadBLS(blsFile, password)
	if err != nil || gotBLS.Bytes() != sk.Bytes() {
		t.Fatalf("LoadBLS: %v", err)
	}
	gotEd, err := LoadEd25519(edFile, password)
	if err != nil || !gotEd.Equal(ed) {
		t.Fatalf("LoadEd25519: %v", err)
	}

	for _, c := range []struct {
		name string
		err  error
		do   func() error
	}{
		{"wrong password", ErrWrongPassword,
			func() error { _, err := LoadBLS(blsFile, []byte("wrong")); return err }},
		{"no such file", fs.ErrNotExist,
			func() error { _, err := LoadBLS(blsFile+"x", password); return err }},
		{"BLS file as ed25519", ErrKind,
			func() error { _, err := LoadEd25519(blsFile, password); return err }},
		{"ed25519 file as BLS", ErrKind,
			func() error { _, err := LoadBLS(edFile, password); return err }},
		{"name taken", ErrExists,
			func() error { return CreateBLS(blsFile, sk, password, Template{KDF: PBKDF2}) }},
		{"empty password", ErrNoPassword,
			func() error { return CreateBLS(blsFile+"2", sk, nil, Template{}) }},
		{"path on ed25519", ErrSeed,
			func() error { return CreateEd25519(edFile+"2", ed, password, Template{Path: "m/1"}) }},
	} {
		if err := c.do(); !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v", c.name, err, c.err)
		}
	}

	if err := os.WriteFile(filepath.Join(dir, "a", "genesis.json"), []byte(`{"chain_id":"x"}`),
		0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "a", "genesis.json"), 0o600); err != nil {
		t.Fatal(err)
	}
	infos, err := List(filepath.Join(dir, "a"))
	if err != nil || len(infos) != 2 {
		t.Fatalf("List: %d files, %v", len(infos), err)
	}
	public := sk.PublicKey().Bytes()
	if i := infos[0]; i.Kind != BLS || i.Role != "node" || i.Path != "m/12381/1/1/3" ||
		i.KDF != PBKDF2 || i.PublicKey != hex.EncodeToString(public[:]) {
		t.Errorf("info of the BLS key: %+v", i)
	}
	if i := infos[1]; i.Kind != Ed25519 || i.Role != "transport" || i.Path != "" ||
		i.KDF != Scrypt {
		t.Errorf("info of the ed25519 key: %+v", i)
	}
	entries, err := os.ReadDir(filepath.Join(dir, "a"))
	if err != nil || len(entries) != 3 {
		t.Errorf("directory holds %d files, want 3: a temporary one was left behind (%v)",
			len(entries), err)
	}
	for _, e := range entries {
		if i, _ := e.Info(); i.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %o", e.Name(), i.Mode().Perm())
		}
	}

	if err := os.Chmod(blsFile, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadBLS(blsFile, password); !errors.Is(err, ErrPermissions) ||
		!strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("mode 640: %v, want ErrPermissions with the remedy", err)
	}
	if infos, err := List(filepath.Join(dir, "a")); len(infos) != 1 ||
		!errors.Is(err, ErrPermissions) {
		t.Errorf("List with an open file: %d, %v", len(infos), err)
	}
}

// TestMismatch swaps the public keys of two keystores: the password is right, the file is not.
func TestMismatch(t *testing.T) {
	dir := t.TempDir()
	var files []string
	var publics []string
	for i := range 2 {
		sk, err := bls.KeyGen(bytes.Repeat([]byte{byte(i + 1)}, 32))
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, string(rune('a'+i)))
		if err := CreateBLS(file, sk, password, Template{KDF: PBKDF2}); err != nil {
			t.Fatal(err)
		}
		p := sk.PublicKey().Bytes()
		files, publics = append(files, file), append(publics, hex.EncodeToString(p[:]))
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	b = bytes.Replace(b, []byte(publics[0]), []byte(publics[1]), 1)
	if err := os.WriteFile(files[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadBLS(files[0], password); !errors.Is(err, ErrMismatch) {
		t.Errorf("%v, want ErrMismatch", err)
	}
}

// TestMalformed alters a good keystore in one place each; none of them may reach the decryption.
func TestMalformed(t *testing.T) {
	good, err := os.ReadFile("testdata/eip2335-scrypt.json")
	if err != nil {
		t.Fatal(err)
	}
	pbkdf2, err := os.ReadFile("testdata/eip2335-pbkdf2.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		in       []byte
		old, new string
	}{
		{good, `"version": 4`, `"version": 3`},
		{good, `"n": 262144`, `"n": 262143`},
		{good, `"n": 262144`, `"n": 1073741824`},
		{good, `"n": 262144`, `"n": -2`},
		{good, `"r": 8`, `"r": 0`},
		{good, `"p": 1`, `"p": 1000000`},
		{good, `"dklen": 32`, `"dklen": 16`},
		{good, `"scrypt"`, `"argon2"`},
		{good, `"sha256"`, `"md5"`},
		{good, `aes-128-ctr`, `aes-128-cbc`},
		{good, `264daa3f303d7259501c93d997d84fe6`, `264daa`},
		{good, `06ae90d5`, ``},
		{good, `06ae90d5`, `zzzzzzzz`},
		{good, `"pubkey": "96`, `"pubkey": "x6`},
		{good, `"crypto"`, `"crypt"`},
		{good, `{`, ``},
		{pbkdf2, `"c": 262144`, `"c": 0`},
		{pbkdf2, `"c": 262144`, `"c": 2000000000`},
		{pbkdf2, `hmac-sha256`, `hmac-sha1`},
		{pbkdf2, `d4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3`, ``},
	} {
		bad := bytes.Replace(c.in, []byte(c.old), []byte(c.new), 1)
		if bytes.Equal(bad, c.in) {
			t.Fatalf("%q is not in the file", c.old)
		}
		if _, err := parse(bad); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q instead of %q: %v, want ErrMalformed", c.new, c.old, err)
		}
	}
	file := filepath.Join(t.TempDir(), "large.json")
	if err := os.WriteFile(file, make([]byte, maxFileSize+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Inspect(file); !errors.Is(err, ErrMalformed) {
		t.Errorf("large file: %v", err)
	}
	if _, err := Inspect(t.TempDir()); !errors.Is(err, ErrMalformed) {
		t.Errorf("directory: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, file := range []string{"eip2335-scrypt.json", "eip2335-pbkdf2.json"} {
		b, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		ks, err := parse(b)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		// What was accepted costs little and fails in no other way than by the password.
		if p := ks.Crypto.KDF.Params; p.N > 1<<12 || p.R > 8 || p.C > 1<<12 {
			return
		}
		if _, err := ks.decrypt([]byte("x")); err != nil && !errors.Is(err, ErrWrongPassword) {
			t.Fatalf("untyped error %v", err)
		}
	})
}

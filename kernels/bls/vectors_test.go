package bls

import (
	"bytes"
	"math/big"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fp"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/hash_to_curve"

	"github.com/waybill-network/waybill/kernels/internal/vectors"
	"github.com/waybill-network/waybill/kernels/sha256"
)

const hashFile = "rfc9380_bls12381g1_xmd_sha256_sswu_ro.json"

type vectorPoint struct{ X, Y string }

func (p vectorPoint) affine(t *testing.T) affine {
	return affine{X: element(t, p.X), Y: element(t, p.Y)}
}

func element(t *testing.T, s string) (e fp.Element) {
	t.Helper()
	if _, err := e.SetString(s); err != nil {
		t.Fatal(err)
	}
	return e
}

type hashVectors struct {
	DST     string
	Vectors []struct {
		Msg       string
		P, Q0, Q1 vectorPoint
		U         []string
	}
}

// run checks every step: field elements, both mapped points, and the result.
func (file *hashVectors) run(t *testing.T) {
	if len(file.Vectors) == 0 {
		t.Fatal("no vectors")
	}
	su := Suite{file.DST}
	for _, v := range file.Vectors {
		var uniform [uniformBytes]byte
		sha256.ExpandXMD(uniform[:], uniformBytes, su.dstPrime(), [][]byte{[]byte(v.Msg)})
		var l workspace
		for i, want := range []vectorPoint{v.Q0, v.Q1} {
			u := fieldElement(uniform[64*i:][:64])
			if w := element(t, v.U[i]); !u.Equal(&w) {
				t.Errorf("%q: u%d = %v, want %v", v.Msg, i, u, w)
			}
			var q [1]affine
			l.mapToIso(q[:], []fp.Element{u})
			hash_to_curve.G1Isogeny(&q[0].X, &q[0].Y)
			if w := want.affine(t); q[0] != w {
				t.Errorf("%q: Q%d = %v, want %v", v.Msg, i, q[0], w)
			}
		}
		if got, w := su.hash([]byte(v.Msg)), v.P.affine(t); got != w {
			t.Errorf("%q: P = %v, want %v", v.Msg, got, w)
		}
	}
}

func TestHashToCurveRFC9380(t *testing.T) {
	var file hashVectors
	vectors.Read(t, "testdata/"+hashFile, &file)
	file.run(t)
}

func TestVectorsHashToCurve(t *testing.T) {
	var file hashVectors
	vectors.Load(t, hashFile, &file)
	file.run(t)
}

// TestMapException: u = 0 and the roots of Z²u⁴ + Zu² take the exceptional branch.
func TestMapException(t *testing.T) {
	var l workspace
	var q [3]affine
	var root fp.Element // u² = -1/Z
	root.Inverse(&swuZ).Neg(&root)
	us := []fp.Element{{}, fp.NewElement(1), {}}
	if us[2].Sqrt(&root) == nil {
		t.Fatal("-1/Z is a square")
	}
	l.mapToIso(q[:], us)
	for i := range q {
		if !iso.contains(&q[i]) {
			t.Errorf("image of %v is not on the curve", us[i])
		}
	}
	if q[0].X != swuException || q[2].X != swuException || q[1].X == swuException {
		t.Error("wrong branch")
	}
}

// contains reports whether p, not the identity, satisfies the curve equation.
func (c *curve) contains(p *affine) bool {
	var left, right fp.Element
	left.Square(&p.Y)
	right.Square(&p.X).Add(&right, &c.a).Mul(&right, &p.X).Add(&right, &c.b)
	return left.Equal(&right)
}

// TestDerivationEIP2333 holds the test cases of EIP-2333.
func TestDerivationEIP2333(t *testing.T) {
	tests := []struct {
		seed, master string
		index        uint32
		child        string
	}{
		{
			"c55257c360c07c72029aebc1b53c05ed0362ada38ead3e3e9efa3708e53495531f09a6987599d18264c1e1c92f2cf141630c7a3c4ab7c81b2f001698e7463b04",
			"6083874454709270928345386274498605044986640685124978867557563392430687146096", 0,
			"20397789859736650942317412262472558107875392172444076792671091975210932703118",
		},
		{
			"3141592653589793238462643383279502884197169399375105820974944592",
			"29757020647961307431480504535336562678282505419141012933316116377660817309383",
			3141592653,
			"25457201688850691947727629385191704516744796114925897962676248250929345014287",
		},
		{
			"0099FF991111002299DD7744EE3355BBDD8844115566CC55663355668888CC00",
			"27580842291869792442942448775674722299803720648445448686099262467207037398656",
			4294967295,
			"29358610794459428860402234341874281240803786294062035874021252734817515685787",
		},
		{
			"d4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3",
			"19022158461524446591288038168518313374041767046816487870552872741050760015818", 42,
			"31372231650479070279774297061823572166496564838472787488249775572789064611981",
		},
	}
	for _, tt := range tests {
		master, err := KeyGen(unhex(t, tt.seed))
		if err != nil {
			t.Fatal(err)
		}
		if got := decimal(master); got != tt.master {
			t.Errorf("master: got %s, want %s", got, tt.master)
		}
		if got := decimal(master.Derive(tt.index)); got != tt.child {
			t.Errorf("child %d: got %s, want %s", tt.index, got, tt.child)
		}
	}
}

func decimal(sk *SecretKey) string {
	b := sk.Bytes()
	return new(big.Int).SetBytes(b[:]).String()
}

func TestOversizeDST(t *testing.T) {
	long := Suite{string(bytes.Repeat([]byte{'x'}, 256))}
	if got := long.dstPrime(); len(got) != 33 || got[32] != 32 {
		t.Errorf("tag of 256 bytes becomes %x", got)
	}
	short := Suite{long.DST[:255]}
	if got := short.dstPrime(); len(got) != 256 || got[255] != 255 {
		t.Errorf("tag of 255 bytes becomes %d bytes", len(got))
	}
}

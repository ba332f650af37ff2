package sha256

import "crypto/sha256"

// sumOneByOne is SumMany with the standard library.
func sumOneByOne(out, in []byte, length int) {
	for i := range len(out) / Size {
		digest := sha256.Sum256(in[i*length:][:length])
		copy(out[i*Size:], digest[:])
	}
}

// expandOneByOne is ExpandXMD with the standard library; it returns buf, its workspace, for
// reuse.
func expandOneByOne(out []byte, width int, dstPrime []byte, msgs [][]byte, buf []byte) []byte {
	for i, msg := range msgs {
		out := out[i*width:][:width]
		var pad [BlockSize]byte
		buf = append(append(buf[:0], pad[:]...), msg...)
		buf = append(buf, byte(width>>8), byte(width), 0)
		buf = append(buf, dstPrime...)
		first := sha256.Sum256(buf)
		var block [Size]byte
		for j := 1; len(out) > 0; j++ {
			for b := range block {
				block[b] ^= first[b]
			}
			buf = append(append(buf[:0], block[:]...), byte(j))
			buf = append(buf, dstPrime...)
			block = sha256.Sum256(buf)
			out = out[copy(out, block[:]):]
		}
	}
	return buf
}

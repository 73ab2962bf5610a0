from __future__ import annotations
import math, zlib
import numpy as np
from ethoprism.backbones.weights import Layout

def _normal(key, shape):
    u = np.random.RandomState(zlib.crc32(key.encode())).random_sample((4, *shape))
    return ((u[0]+u[1])+(u[2]+u[3])-2.0)*1.7320508075688772
QK_T=1.;QK_S=1.;POS_S=.02;POS_T=.02;PATCH='normal'
def untrained_parameters(layout: Layout):
    for key in sorted(layout):
        shape=layout[key]; last=key.split('/')[-1]
        if last in('scale','bias','b'): yield key, np.zeros(shape,np.float32); continue
        z=_normal(key,shape)
        if last=='emb_var':
            g=POS_T if 'temporal' in key else POS_S
        else:
            fan = shape[-2] if last=='kernel' else shape[-1]*shape[-2] if '/post/' in key else shape[-3]
            g=1/math.sqrt(fan)
            if '/query/' in key or '/key/' in key: g*= QK_T if 'temporal' in key else QK_S
        z=z*g
        if 'patch_projection' in key and PATCH=='centred':
            w=z.reshape(-1,3,shape[-1]); z=(w - w.mean((0,1),keepdims=True)).reshape(shape)
        yield key, z.astype(np.float32)

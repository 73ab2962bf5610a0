from __future__ import annotations
import math, zlib
import numpy as np
from ethoprism.backbones.weights import Layout

def _normal(key, shape):
    u = np.random.RandomState(zlib.crc32(key.encode())).random_sample((4, *shape))
    return ((u[0]+u[1])+(u[2]+u[3])-2.0)*1.7320508075688772
D=dict(QK_T=1.,QK_S=1.,POS_S=.02,POS_T=.02,PATCH='normal',POST_S=1.,BIAS=0.,RED_S=1.,TIE=0.,GREY=0)
P=dict(D)
def patch_kernel(key,shape):
    total=0
    for block,gain in ((18,1.),(9,2.),(6,2.),(3,2.),(1,1.)):
        n=18//block
        z=_normal(f'{key}/{block}',(n,n,3,shape[-1]))
        total=total+gain*np.repeat(np.repeat(z,block,0),block,1)
    return (total/3.7).reshape(shape)
def untrained_parameters(layout: Layout):
    for key in sorted(layout):
        shape=layout[key]; last=key.split('/')[-1]
        if 'patch_projection' in key:
            k=key.rsplit('/',1)[0]+'/kernel'
            z=(patch_kernel(k,layout[k]) if P['PATCH']=='multi' else _normal(k,layout[k]))/math.sqrt(layout[k][0])
            if last=='bias':
                z=P['BIAS']*_normal(key,shape) - (np.array([math.fsum(c) for c in z.T])*.5 if P['GREY'] else 0)
            yield key,z.astype(np.float32); continue
        if last in('scale','bias','b'): yield key, np.zeros(shape,np.float32); continue
        z=_normal(key,shape)
        if last=='emb_var':
            g=P['POS_T'] if 'temporal' in key else P['POS_S']
        else:
            fan = shape[-2] if last=='kernel' else shape[-1]*shape[-2] if '/post/' in key else shape[-3]
            g=1/math.sqrt(fan)
            if '/query/' in key or '/key/' in key: g*= P['QK_T'] if 'temporal' in key else P['QK_S']
            if 'spatial' in key and '/post/' in key: g*=P['POST_S']
            if 'spatial' in key and 'layer2' in key: g*=P['RED_S']
            if 'temporal' in key and '/post/' in key and P['TIE']:
                z=_normal(key.replace('post','value'),shape); g=-P['TIE']/math.sqrt(shape[-3])
        z=z*g
        yield key, z.astype(np.float32)
